"""Plays as numbers: who heard what when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Plays:
    """Plays in the order of their time; users and tracks are numbered from 0.

    ``users``, ``tracks`` and ``times`` (microseconds since 1970, UTC) have one value a row, and so has ``counts``: how
    many plays a row of a file stands for; 1 in a lake.
    """

    users: Numbers
    tracks: Numbers
    times: Numbers
    counts: Numbers
    user_ids: pa.Array
    track_ids: pa.Array

    @classmethod
    def of(cls, table: pa.Table) -> Plays:
        """From a table in the order of time: user_id, track_id (strings), played_at (timestamp), and maybe count."""
        users = table["user_id"].combine_chunks().dictionary_encode()
        tracks = table["track_id"].combine_chunks().dictionary_encode()
        times = table["played_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return cls(
            _numbers(users.indices),
            _numbers(tracks.indices),
            _numbers(times),
            _numbers(table["count"]) if "count" in table.column_names else np.ones(len(table), np.int64),
            users.dictionary,
            tracks.dictionary,
        )

    def __len__(self) -> int:
        return len(self.users)

    def numbered_users(self, ids: pa.ChunkedArray) -> Numbers:
        """The numbers of users by their ids."""
        return _numbers(pc.index_in(ids, value_set=self.user_ids))

    def numbered_tracks(self, ids: pa.ChunkedArray) -> Numbers:
        """The numbers of tracks by their ids."""
        return _numbers(pc.index_in(ids, value_set=self.track_ids))


def _numbers(array: pa.Array | pa.ChunkedArray) -> Numbers:
    return np.asarray(array.to_numpy(zero_copy_only=False) if isinstance(array, pa.Array) else array.to_numpy()).astype(
        np.int64
    )
