"""The simulator: the same seed gives the same events, and they look like listening."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from playlake.errors import UsageError
from playlake.events import LIKES, PLAYS, SKIPS, Event, decode, encode
from playlake.sources.simulator import Simulation, Simulator
from playlake.sources.simulator.catalog import STYLES

SMALL = Simulation(plays=1_500, listeners=20, days=10, seed=3)
Events = list[tuple[str, Event]]

DIGEST = """
import hashlib
from playlake.events import encode
from playlake.sources.simulator import Simulation, Simulator
made = hashlib.sha256()
for topic, event in Simulator(Simulation(plays=1_500, listeners=20, days=10, seed=3)).events():
    made.update(topic.encode() + encode(event))
print(made.hexdigest())
"""


def simulate(simulation: Simulation) -> Events:
    return list(Simulator(simulation).events())


@pytest.fixture(scope="module")
def usual() -> Events:
    """What the demo simulates."""
    return simulate(Simulation())


def test_twice_the_same() -> None:
    simulator = Simulator(SMALL)
    first, second = list(simulator.events()), list(simulator.events())
    assert first == second == simulate(SMALL)


def test_the_same_in_every_process() -> None:
    digest = hashlib.sha256()
    for topic, event in simulate(SMALL):
        digest.update(topic.encode() + encode(event))
    for seed in ("0", "1", "4242"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        found = subprocess.run([sys.executable, "-c", DIGEST], env=env, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize(
    ("plays", "listeners", "days"), [(1, 1, 1), (1, 50, 1), (40, 1, 1), (999, 7, 30), (12_000, 10, 30)]
)
def test_exactly_so_many_plays(plays: int, listeners: int, days: int) -> None:
    made = simulate(Simulation(plays, listeners, days))
    assert sum(topic == PLAYS for topic, _ in made) == plays
    assert len({event.event_id for _, event in made}) == len(made)
    assert len({event.user_id for _, event in made}) <= listeners


def test_other_parameters_share_no_event() -> None:
    others = [
        Simulation(1_500, 20, 10, 4),
        Simulation(1_501, 20, 10, 3),
        Simulation(1_500, 21, 10, 3),
        Simulation(1_500, 20, 11, 3),
        Simulation(1_500, 20, 10, 3, SMALL.end + timedelta(days=1)),
    ]
    made = [{event.event_id for _, event in simulate(one)} for one in (SMALL, *others)]
    assert len(set.union(*made)) == sum(map(len, made))


def test_every_event_is_valid_when_it_happens(usual: Events) -> None:
    for topic, event in usual:
        assert decode(topic, encode(event), int(event.played_at.timestamp() * 1000)) == event


def test_events_come_in_order_and_within_their_days(usual: Events) -> None:
    times = [event.played_at for _, event in usual]
    assert times == sorted(times)
    assert all(e.started_at and e.ms_played and e.started_at < e.played_at == e.ended_at for _, e in usual)
    assert Simulation().end - timedelta(days=91) < times[0]
    assert times[-1] <= Simulation().end


@pytest.mark.parametrize("days", [1, 5])
def test_the_most_plays_fit_into_their_days(days: int) -> None:
    simulation = Simulation(plays=50 * days * 40, listeners=50, days=days)
    assert max(event.played_at for _, event in simulate(simulation)) <= simulation.end


def test_nobody_hears_two_tracks_at_once(usual: Events) -> None:
    busy: dict[str, datetime] = {}
    for topic, event in usual:
        if topic == PLAYS:
            assert event.started_at is not None
            assert event.started_at >= busy.get(event.user_id, event.started_at)
            busy[event.user_id] = event.played_at


def test_little_at_night_much_in_the_evening(usual: Events) -> None:
    hours = Counter(event.played_at.hour for topic, event in usual if topic == PLAYS)
    night, evening = (sum(hours[h] for h in part) for part in ((2, 3, 4), (18, 19, 20)))
    assert evening > 2.5 * night


def test_weekends_begin_later(usual: Events) -> None:
    def early_share(weekend: bool) -> float:
        hours = [e.played_at.hour for t, e in usual if t == PLAYS and (e.played_at.weekday() >= 5) is weekend]
        return sum(h in (6, 7, 8) for h in hours) / len(hours)

    assert early_share(True) < 0.75 * early_share(False)


def style_shares(made: Events) -> dict[str, Counter[str]]:
    """By listener, plays of each style (an album's name holds it)."""
    names = [style.title() for style in STYLES]
    shares: dict[str, Counter[str]] = {}
    for topic, event in made:
        if topic == PLAYS:
            style = next(name for name in names if f" {name} " in f" {event.album_name} ")
            shares.setdefault(event.user_id, Counter())[style] += 1
    return {user: count for user, count in shares.items() if count.total() >= 50}


def test_listeners_have_tastes(usual: Events) -> None:
    shares = style_shares(usual)
    assert len(shares) > 50
    tops = [count.most_common(1)[0][1] / count.total() for count in shares.values()]
    assert sorted(tops)[len(tops) // 10] > 2 / len(STYLES)  # nine of ten, twice what chance would give
    assert len({count.most_common(1)[0][0] for count in shares.values()}) > 4  # and not all the same


def test_friends_share_a_taste(usual: Events) -> None:
    tops = [frozenset(style for style, _ in count.most_common(3)) for count in style_shares(usual).values()]
    pairs = [a == b for a, b in itertools.combinations(tops, 2)]
    by_chance = len(pairs) / math.comb(len(STYLES), 3)
    assert sum(pairs) > 2 * by_chance  # without friends it is 0.8 to 1.3 times


@pytest.mark.parametrize("what", ["track_id", "artist_name"])
def test_some_tracks_and_artists_are_popular(usual: Events, what: str) -> None:
    plays = Counter(getattr(event, what) for topic, event in usual if topic == PLAYS)
    top = sum(count for _, count in plays.most_common(len(plays) // 10))
    assert top > 0.3 * plays.total()


def test_a_skip_has_a_skipped_play_and_a_like_one_that_was_not(usual: Events) -> None:
    def moment(event: Event) -> tuple[object, ...]:
        return event.user_id, event.track_id, event.started_at, event.played_at, event.ms_played

    plays = {moment(event): event for topic, event in usual if topic == PLAYS}
    skips = {moment(event) for topic, event in usual if topic == SKIPS}
    likes = {moment(event) for topic, event in usual if topic == LIKES}
    skipped = {key for key, event in plays.items() if event.skipped}
    assert skips == skipped
    assert likes
    assert likes <= plays.keys() - skipped
    assert 0.05 < len(skips) / len(plays) < 0.5
    for key, event in plays.items():
        assert event.ms_played is not None
        assert event.duration_ms is not None
        assert (event.ms_played < event.duration_ms / 2) is (key in skipped)


def test_nobody_likes_a_track_twice(usual: Events) -> None:
    likes = Counter((event.user_id, event.track_id) for topic, event in usual if topic == LIKES)
    assert set(likes.values()) == {1}


@pytest.mark.parametrize(
    ("plays", "listeners", "days"), [(0, 1, 1), (-1, 1, 1), (1, 0, 1), (1, 1, 0), (1, -2, -2), (41, 1, 1)]
)
def test_what_can_not_be_simulated(plays: int, listeners: int, days: int) -> None:
    with pytest.raises(UsageError, match="can't be simulated"):
        Simulation(plays, listeners, days)


@pytest.mark.parametrize(
    ("days", "end", "says"),
    [
        (1_000_000, datetime(2026, 1, 1, tzinfo=UTC), "can't be simulated"),
        (3650, datetime(2009, 1, 1, tzinfo=UTC), "none before 2000"),
        (90, datetime(9999, 12, 31, tzinfo=UTC), "in the future"),
    ],
)
def test_days_that_can_not_be_simulated(days: int, end: datetime, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Simulation(10, 5, days, end=end)


@pytest.mark.parametrize("listeners", [1, 10, 200])
def test_live_events_are_of_now(listeners: int) -> None:
    before = datetime.now(UTC)
    made = list(itertools.islice(Simulator(Simulation(40, listeners, 1)).live(), 30))
    after = datetime.now(UTC)
    assert all(before <= event.played_at <= after for _, event in made)
    assert all(e.ended_at == e.played_at and e.started_at and e.started_at < e.played_at for _, e in made)
    for topic, event in made:
        assert decode(topic, encode(event), int(after.timestamp() * 1000)) == event


def test_live_events_never_come_twice() -> None:
    simulator = Simulator(Simulation(40, 60, 1))
    made = [event for _, event in itertools.islice(simulator.live(), 5_500)]  # more than two rounds
    again = [event for _, event in itertools.islice(simulator.live(), 100)]
    assert len({event.event_id for event in made + again}) == 5_600
    heard = [(event.user_id, event.track_id) for event in made if event.event_type == "play"]
    assert heard[:1_500] != heard[2_000:3_500]  # no round repeats the one before
