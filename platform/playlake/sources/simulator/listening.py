"""What simulated listeners hear: sessions, tracks and albums, skips, likes."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec

from playlake.errors import UsageError
from playlake.events import LIKES, PLAYS, SKIPS, Event, event_id
from playlake.events.model import EARLIEST
from playlake.sources.simulator.catalog import STYLES, Catalog, Track, make_catalog
from playlake.sources.simulator.listeners import Listener, make_listeners

DEFAULT_END = datetime(2026, 1, 1, tzinfo=UTC)
"""The simulated days end here unless told otherwise, so that a seed always gives the same events."""

MOST_PLAYS_A_DAY = 40
MOST_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Simulation:
    """What to simulate. ``plays`` are spread over ``listeners`` and the ``days`` before ``end``."""

    plays: int = 20_000
    listeners: int = 200
    days: int = 90
    seed: int = 7
    end: datetime = DEFAULT_END

    def __post_init__(self) -> None:
        most = self.listeners * self.days * MOST_PLAYS_A_DAY
        if min(self.plays, self.listeners, self.days) < 1 or self.plays > most:
            raise UsageError(
                f"{self.plays:,} plays by {self.listeners:,} listeners over {self.days:,} days can't be simulated:"
                f" all three must be positive, and nobody plays more than {MOST_PLAYS_A_DAY} a day on average."
            )
        if self.end > datetime.now(UTC) + timedelta(days=1):
            raise UsageError(
                f"The simulated days end on {self.end:%Y-%m-%d}, which is in the future. Give an --end that is not."
            )
        if self.days > MOST_DAYS or self.end - timedelta(days=self.days) < EARLIEST:
            raise UsageError(
                f"{self.days:,} days before {self.end:%Y-%m-%d} can't be simulated:"
                f" {MOST_DAYS:,} at the most, and none before {EARLIEST:%Y-%m-%d}."
            )

    @property
    def key(self) -> str:
        """What identifies the simulation: two that differ in anything share no event."""
        return f"{self.seed}/{self.plays}/{self.listeners}/{self.days}/{self.end.isoformat()}"


class Simulator:
    """Draws events. Iterating twice gives the same events twice.

    :param world: seed of the catalogue and the listeners, where it is not the simulation's own.
    """

    def __init__(self, simulation: Simulation, *, world: int | None = None) -> None:
        self.simulation = simulation
        self.world = simulation.seed if world is None else world

    def events(self) -> Iterator[tuple[str, Event]]:
        """Topic and event, in the order of ``played_at``; exactly ``plays`` of them are plays."""
        sim = self.simulation
        rng = random.Random(self.world)
        catalog = make_catalog(rng, world=self.world)
        listeners = make_listeners(rng, sim.listeners)
        quotas = self._quotas(listeners)
        # A listener's stream has a random source of its own: more listeners do not change the ones before.
        streams = [
            self._listener_events(random.Random(f"{sim.seed}/{who.user_id}"), who, catalog, quota)
            for who, quota in zip(listeners, quotas, strict=True)
        ]
        yield from heapq.merge(*streams, key=lambda pair: (pair[1].played_at, pair[1].event_id))

    def live(self) -> Iterator[tuple[str, Event]]:
        """Events without end, time-stamped now: the caller paces them. Tracks and listeners are those of `events`."""
        round_number = 0
        while True:
            now = datetime.now(UTC)
            plays = min(2000, self.simulation.listeners * MOST_PLAYS_A_DAY)
            one = Simulation(plays, self.simulation.listeners, 1, self.simulation.seed * 1_000_003 + round_number, now)
            source = f"live/{now.isoformat()}"
            for topic, event in Simulator(one, world=self.simulation.seed).events():
                at = datetime.now(UTC)
                started = at - timedelta(milliseconds=event.ms_played or 0)
                yield (
                    topic,
                    _moved(event, event_id("simulator", source, event.event_id), started, at),
                )
            round_number += 1

    def _quotas(self, listeners: list[Listener]) -> list[int]:
        """Plays of each listener, by activity, adding up to exactly ``plays``."""
        total = sum(who.activity for who in listeners) or 1.0
        shares = [who.activity / total * self.simulation.plays for who in listeners]
        quotas = [int(s) for s in shares]
        rest = sorted(range(len(listeners)), key=lambda i: quotas[i] - shares[i])
        for i in islice(rest, self.simulation.plays - sum(quotas)):
            quotas[i] += 1
        return quotas

    # -- one listener ----------------------------------------------------------------------------------------------

    def _listener_events(
        self, rng: random.Random, who: Listener, catalog: Catalog, quota: int
    ) -> Iterator[tuple[str, Event]]:
        if not quota:
            return
        lengths: list[int] = []
        left = quota
        while left:
            lengths.append(min(1 + int(rng.expovariate(1 / 8)), left))
            left -= lengths[-1]
        end = self.simulation.end
        # The last three hours of the span stay free, so that no session runs past its end.
        starts = who.rhythm.starts(
            rng, len(lengths), end - timedelta(days=self.simulation.days), end - timedelta(hours=3)
        )
        sessions: list[list[tuple[str, Event]]] = []
        ordinal = 0
        for start, length in zip(starts, lengths, strict=True):
            at = start
            made: list[tuple[str, Event]] = []
            sessions.append(made)
            device = who.device(rng, start)
            style = rng.choices(range(len(STYLES)), who.styles)[0]
            for track in islice(self._tracks(rng, who, catalog, style), length):
                ordinal += 1
                skipped = rng.random() > who.patience * (1.0 if who.styles[track.style] > 0.1 else 0.6)
                played = int(track.duration_ms * rng.uniform(0.02, 0.4)) if skipped else track.duration_ms
                ended = at + timedelta(milliseconds=played)
                made.append((PLAYS, self._event("play", who, track, ordinal, device, at, ended, played, skipped)))
                if skipped:
                    made.append((SKIPS, self._event("skip", who, track, ordinal, device, at, ended, played, True)))
                else:
                    if track not in who.favourites and rng.random() < 0.08:
                        who.favourites.append(track)
                        made.append((LIKES, self._event("like", who, track, ordinal, device, at, ended, played, False)))
                at = ended + timedelta(seconds=rng.choice((0, 0, 0, 1, 2, 15)))
        for made in _one_at_a_time(sessions, end):
            yield from sorted(made, key=lambda pair: (pair[1].played_at, pair[1].event_id))

    def _tracks(self, rng: random.Random, who: Listener, catalog: Catalog, style: int) -> Iterator[Track]:
        """Track after track, without end."""
        while True:
            track = self._next_track(rng, who, catalog, style)
            if rng.random() >= who.listens_on:
                yield track
                continue
            # On from the track, or the album from its beginning; not everybody hears it to its end.
            for following in catalog.albums[track.artist, track.album][rng.choice((0, track.place)) :]:
                yield following
                if rng.random() < 0.05:
                    break

    def _next_track(self, rng: random.Random, who: Listener, catalog: Catalog, style: int) -> Track:
        if who.favourites and rng.random() < 0.3:
            return rng.choice(who.favourites)  # repeats
        if rng.random() < 0.15:
            style = rng.randrange(len(STYLES))  # something else for once
        artist = rng.choices(catalog.styles[style].artists, cum_weights=catalog.styles[style].cum_weights)[0]
        return rng.choices(artist.tracks, cum_weights=artist.cum_weights)[0]

    def _event(
        self,
        kind: str,
        who: Listener,
        track: Track,
        ordinal: int,
        device: str,
        started: datetime,
        ended: datetime,
        played: int,
        skipped: bool,
    ) -> Event:
        return Event(
            event_id=event_id("simulator", self.simulation.key, kind, who.user_id, ordinal),
            user_id=who.user_id,
            event_type=kind,  # type: ignore[arg-type]
            track_id=track.track_id,
            track_name=track.name,
            artist_name=track.artist,
            album_name=track.album,
            duration_ms=track.duration_ms,
            played_at=ended,
            device_type=device,
            schema_version=1,
            source="simulator",
            ms_played=played,
            started_at=started,
            ended_at=ended,
            time_precision_s=0.001,
            skipped=skipped if kind == "play" else None,
        )


def _one_at_a_time(sessions: list[list[tuple[str, Event]]], end: datetime) -> list[list[tuple[str, Event]]]:
    """Move sessions that overlap apart: first later, then, where that runs past the end, earlier again."""
    spans = [(min(_start(e) for _, e in made), max(e.played_at for _, e in made)) for made in sessions]
    starts: list[datetime] = []
    for first, _last in spans:
        after = starts[-1] + (spans[len(starts) - 1][1] - spans[len(starts) - 1][0]) if starts else first
        starts.append(max(first, after))
    latest = end
    for i in range(len(spans) - 1, -1, -1):
        starts[i] = min(starts[i], latest - (spans[i][1] - spans[i][0]))
        latest = starts[i]
    return [
        [(topic, _shifted(event, starts[i] - spans[i][0])) for topic, event in made] for i, made in enumerate(sessions)
    ]


def _start(event: Event) -> datetime:
    return event.started_at or event.played_at


def _shifted(event: Event, by: timedelta) -> Event:
    return _moved(event, event.event_id, _start(event) + by, event.played_at + by) if by else event


def _moved(event: Event, new_id: str, started: datetime, ended: datetime) -> Event:
    return msgspec.structs.replace(event, event_id=new_id, played_at=ended, started_at=started, ended_at=ended)
