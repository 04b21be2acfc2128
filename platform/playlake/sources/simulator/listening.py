"""How simulated listeners listen: tastes shared with friends, a rhythm of the week, sessions, skips, likes."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice

import msgspec

from playlake.errors import UsageError
from playlake.events import LIKES, PLAYS, SKIPS, Event, event_id
from playlake.events.model import EARLIEST
from playlake.sources.simulator.catalog import STYLES, Artist, Track, make_catalog

DEFAULT_END = datetime(2026, 1, 1, tzinfo=UTC)
"""The simulated days end here unless told otherwise, so that a seed always gives the same events."""

MOST_PLAYS_A_DAY = 40
MOST_DAYS = 3650

# Share of listening by hour of the day: little at night, two peaks; weekends start later and last longer.
_WEEKDAY = (1, 1, 0, 0, 0, 1, 3, 6, 7, 5, 4, 4, 5, 4, 4, 5, 6, 8, 9, 9, 8, 6, 4, 2)
_WEEKEND = (3, 2, 1, 1, 0, 0, 1, 2, 3, 5, 7, 8, 8, 7, 7, 7, 7, 7, 8, 8, 8, 7, 6, 4)
_DEVICES = ("Smartphone", "Computer", "Speaker", "TV", "Automobile")


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


@dataclass(slots=True)
class _Listener:
    user_id: str
    activity: float
    styles: list[float]
    devices: tuple[str, str]
    patience: float
    """Chance to hear a track of a loved style to its end."""
    offset_h: int
    favourites: list[Track] = field(default_factory=list)


class Simulator:
    """Draws events. Iterating twice gives the same events twice."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    def events(self) -> Iterator[tuple[str, Event]]:
        """Topic and event, in the order of ``played_at``; exactly ``plays`` of them are plays."""
        sim = self.simulation
        rng = random.Random(sim.seed)
        catalog = make_catalog(rng)
        listeners = self._listeners(rng)
        quotas = self._quotas(rng, listeners)
        # A listener's stream has a random source of its own: more listeners do not change the ones before.
        streams = [
            self._listener_events(random.Random(f"{sim.seed}/{who.user_id}"), who, catalog, quota)
            for who, quota in zip(listeners, quotas, strict=True)
        ]
        yield from heapq.merge(*streams, key=lambda pair: (pair[1].played_at, pair[1].event_id))

    def live(self) -> Iterator[tuple[str, Event]]:
        """Events without end, time-stamped now: the caller paces them."""
        round_number = 0
        while True:
            now = datetime.now(UTC)
            plays = min(2000, self.simulation.listeners * MOST_PLAYS_A_DAY)
            one = Simulation(plays, self.simulation.listeners, 1, self.simulation.seed * 1_000_003 + round_number, now)
            source = f"live/{now.isoformat()}"
            for topic, event in Simulator(one).events():
                at = datetime.now(UTC)
                started = at - timedelta(milliseconds=event.ms_played or 0)
                yield (
                    topic,
                    _moved(event, event_id("simulator", source, event.event_id), started, at),
                )
            round_number += 1

    # -- listeners -------------------------------------------------------------------------------------------------

    def _listeners(self, rng: random.Random) -> list[_Listener]:
        listeners: list[_Listener] = []
        for number in range(self.simulation.listeners):
            if listeners and rng.random() < 0.6:
                # A friend: the taste of somebody who is there already, a little changed.
                styles = [max(0.0, s * rng.uniform(0.6, 1.4)) for s in rng.choice(listeners).styles]
            else:
                styles = [0.02] * len(STYLES)
                for style in rng.sample(range(len(STYLES)), 3):
                    styles[style] = rng.uniform(0.5, 1.5)
            devices = rng.sample(_DEVICES, 2)
            listeners.append(
                _Listener(
                    f"listener-{number + 1:04d}",
                    activity=rng.lognormvariate(0, 0.8),
                    styles=styles,
                    devices=(devices[0], devices[1]),
                    patience=rng.uniform(0.7, 0.95),
                    offset_h=rng.choice((-5, 0, 0, 1, 1, 1, 8)),
                )
            )
        return listeners

    def _quotas(self, rng: random.Random, listeners: list[_Listener]) -> list[int]:
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
        self, rng: random.Random, who: _Listener, catalog: list[list[Artist]], quota: int
    ) -> Iterator[tuple[str, Event]]:
        if not quota:
            return
        lengths: list[int] = []
        while sum(lengths) < quota:
            lengths.append(min(1 + int(rng.expovariate(1 / 8)), quota - sum(lengths)))
        starts = sorted(self._session_start(rng, who) for _ in lengths)
        sessions: list[list[tuple[str, Event]]] = []
        ordinal = 0
        for start, length in zip(starts, lengths, strict=True):
            at = start
            made: list[tuple[str, Event]] = []
            sessions.append(made)
            device = who.devices[0] if rng.random() < 0.75 else who.devices[1]
            style = rng.choices(range(len(STYLES)), who.styles)[0]
            for _ in range(length):
                track = self._next_track(rng, who, catalog, style)
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
        for made in _one_at_a_time(sessions, self.simulation.end):
            yield from sorted(made, key=lambda pair: (pair[1].played_at, pair[1].event_id))

    def _session_start(self, rng: random.Random, who: _Listener) -> datetime:
        """A moment within the simulated days, by the rhythm of the listener's own clock."""
        sim = self.simulation
        # The last three hours of the span stay free, so that no session runs past its end.
        first = sim.end - timedelta(days=sim.days)
        while True:
            day = first + timedelta(days=rng.randrange(sim.days))
            local = (day + timedelta(hours=who.offset_h)).weekday()
            rhythm = _WEEKEND if local >= 5 else _WEEKDAY
            hour = rng.choices(range(24), cum_weights=list(accumulate(rhythm)))[0]
            start = day + timedelta(hours=(hour - who.offset_h) % 24, seconds=rng.randrange(3600))
            if start < sim.end - timedelta(hours=3):
                return start

    def _next_track(self, rng: random.Random, who: _Listener, catalog: list[list[Artist]], style: int) -> Track:
        if who.favourites and rng.random() < 0.3:
            return rng.choice(who.favourites)  # repeats
        if rng.random() < 0.15:
            style = rng.randrange(len(STYLES))  # something else for once
        artists = catalog[style]
        artist = rng.choices(artists, [a.weight for a in artists])[0]
        return rng.choices(artist.tracks, [t.weight for t in artist.tracks])[0]

    def _event(
        self,
        kind: str,
        who: _Listener,
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
