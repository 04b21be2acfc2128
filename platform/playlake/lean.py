"""A faster start, and less memory: what libraries would do for us and we do not need is left out."""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("left out, for a faster start", name=name)


def without_pandas() -> None:
    """Let it be as if pandas were not installed, for this process: 0.7 s of processor time less for `land`.

    pyarrow (at its first Python values) and DuckDB (at its first parameters) import it where it is, to know its types.
    """
    sys.meta_path.insert(0, _NoPandas())


def with_jemalloc() -> None:
    """Let Arrow ask jemalloc for its memory, for this process; to be called before Arrow is first imported.

    The writer's peak is some 30 MB lower than with mimalloc, which rounds up to huge pages and keeps what a batch took
    until the next one. Arrow is built with jemalloc for Linux. https://arrow.apache.org/docs/cpp/env_vars.html
    """
    if sys.platform == "linux":
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
