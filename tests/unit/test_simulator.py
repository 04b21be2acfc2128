"""The simulator: the same seed gives the same events, and they look like listening."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from playlake.errors import UsageError
from playlake.events import LIKES, PLAYS, SKIPS, Event, decode, encode
from playlake.sources.simulator import Simulation, Simulator
from playlake.sources.simulator.catalog import STYLES, Catalog, Track, make_catalog
from playlake.sources.simulator.listeners import make_listeners
from playlake.sources.simulator.rhythm import WEEKEND_HOURS, WORKDAY_HOURS, Rhythm

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


def plays_by_weekday(made: Events) -> Counter[int]:
    return Counter(event.played_at.weekday() for topic, event in made if topic == PLAYS)


def test_more_from_thursday_to_saturday_than_at_the_beginning_of_the_week() -> None:
    """Twelve whole weeks, so that each weekday comes as often."""
    plays = plays_by_weekday(simulate(Simulation(40_000, 400, 84)))
    late, early = (sum(plays[day] for day in part) for part in ((3, 4, 5), (0, 1, 2)))
    assert 1.15 * early < late < 2 * early
    assert min(plays.values()) > 0.09 * plays.total()


def test_listeners_have_weeks_of_their_own(usual: Events) -> None:
    rng = random.Random(Simulation().seed)
    make_catalog(rng, world=1)
    weeks = {who.user_id: who.rhythm.week for who in make_listeners(rng, Simulation().listeners)}
    by_week: dict[tuple[float, ...], Events] = {}
    for topic, event in usual:
        by_week.setdefault(weeks[event.user_id], []).append((topic, event))
    weekend = {}
    for week, made in by_week.items():
        plays = plays_by_weekday(made)
        weekend[sum(week[5:]) / sum(week)] = (plays[5] + plays[6]) / plays.total()
    assert weekend[max(weekend)] > 1.4 * weekend[min(weekend)]


@pytest.mark.parametrize(("offset_h", "ends_h"), [(-5, -22), (0, 0), (8, -7)])
def test_the_hours_are_those_of_the_weekday_on_the_listeners_own_clock(offset_h: int, ends_h: int) -> None:
    """Where the clock is not UTC, the eight weeks begin on another day by it than in UTC."""
    week = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    last = SMALL.end + timedelta(hours=ends_h)
    first = last - timedelta(weeks=8)
    starts = Rhythm(week, offset_h).starts(random.Random(1), 20_000, first, last)
    assert starts == sorted(starts)
    assert len(starts) == 20_000
    assert first <= starts[0] < starts[-1] < last
    local = [start + timedelta(hours=offset_h) for start in starts]
    days = Counter(at.weekday() for at in local)
    for day, weight in enumerate(week):
        assert days[day] / 20_000 == pytest.approx(weight / sum(week), abs=0.015)
    hours = Counter((at.weekday() >= 5, at.hour) for at in local)
    assert all(hours[False, hour] == 0 < hours[True, hour] for hour in (2, 3))  # workdays have none of these
    for weekend, profile in ((False, WORKDAY_HOURS), (True, WEEKEND_HOURS)):
        total = sum(hours[weekend, hour] for hour in range(24))
        for hour, weight in enumerate(profile):
            assert hours[weekend, hour] / total == pytest.approx(weight / sum(profile), abs=0.015)


def test_starts_within_one_day_that_ends_at_any_time() -> None:
    for hour in range(24):
        last = SMALL.end - timedelta(hours=hour, minutes=30)
        starts = Rhythm((1.0,) * 7, -5).starts(random.Random(hour), 50, last - timedelta(hours=21), last)
        assert len(starts) == 50
        assert last - timedelta(hours=21) <= starts[0] <= starts[-1] < last


def test_most_is_heard_on_phones_and_little_in_cars(usual: Events) -> None:
    plays = Counter(event.device_type for topic, event in usual if topic == PLAYS)
    order = [device for device, _ in plays.most_common()]
    assert order[:3] == ["Smartphone", "Computer", "Speaker"]
    assert set(order[3:]) == {"TV", "Automobile"}
    assert 0.4 < plays["Smartphone"] / plays.total() < 0.7
    assert plays["Automobile"] > 0.01 * plays.total()


def test_a_listener_has_a_main_device_and_others(usual: Events) -> None:
    devices: dict[str, Counter[str | None]] = {}
    for topic, event in usual:
        if topic == PLAYS:
            devices.setdefault(event.user_id, Counter())[event.device_type] += 1
    often = [count for count in devices.values() if count.total() >= 100]
    main = sorted(count.most_common(1)[0][1] / count.total() for count in often)
    assert main[len(main) // 10] > 0.5
    assert main[len(main) // 2] < 0.95
    assert sum(len(count) >= 3 for count in often) > 0.7 * len(often)


def test_the_car_is_for_the_way_to_work() -> None:
    driver = next(who for who in make_listeners(random.Random(1), 200) if "Automobile" in who.devices[1:])
    rng = random.Random(2)

    def rides(day: int, hour: int) -> int:
        local = datetime(2025, 12, day, hour, 30, tzinfo=UTC)  # the 1st is a Monday
        at = local - timedelta(hours=driver.rhythm.offset_h)
        return sum(driver.device(rng, at) == "Automobile" for _ in range(2_000))

    assert min(rides(2, 8), rides(5, 17)) > 3 * max(rides(2, 13), rides(6, 8))


def all_tracks(catalog: Catalog) -> list[Track]:
    return [track for style in catalog.styles for artist in style.artists for track in artist.tracks]


Album = tuple[str, str | None]


def heard_albums(made: Events) -> dict[Album, Counter[str]]:
    """By artist and album, plays of each of its tracks."""
    albums: dict[Album, Counter[str]] = {}
    for topic, event in made:
        if topic == PLAYS:
            albums.setdefault((event.artist_name, event.album_name), Counter())[event.track_id] += 1
    return albums


def test_albums_have_eight_to_fourteen_tracks() -> None:
    catalog = make_catalog(random.Random(1), world=1)
    tracks = all_tracks(catalog)
    assert len({track.track_id for track in tracks}) == len(tracks) == sum(map(len, catalog.albums.values()))
    assert {len(album) for album in catalog.albums.values()} == set(range(8, 15))
    assert set(Counter(artist for artist, _ in catalog.albums).values()) == {1, 2, 3}
    for track in tracks:
        assert catalog.albums[track.artist, track.album][track.place] is track


def test_several_tracks_of_an_album_are_heard(usual: Events) -> None:
    tracks = sorted(len(heard) for heard in heard_albums(usual).values())
    assert tracks[len(tracks) // 4] >= 5
    assert tracks[-1] <= 14


def test_the_chart_of_albums_is_not_the_one_of_tracks(usual: Events) -> None:
    albums = heard_albums(usual)
    top_albums = sorted(albums, key=lambda album: -albums[album].total())[:20]
    of_tracks = sorted(albums, key=lambda album: -max(albums[album].values()))[:20]
    assert len(set(top_albums) & set(of_tracks)) < 17
    for album in top_albums:
        assert albums[album].total() > 1.5 * max(albums[album].values())


def number(event: Event) -> int:
    """Albums are numbered through, track after track."""
    return int(event.track_id.rpartition(":")[2])


def test_some_listen_to_an_album_on_and_some_do_not(usual: Events) -> None:
    before: dict[str, Event] = {}
    goes_on: dict[str, list[bool]] = {}
    for topic, event in usual:
        if topic == PLAYS:
            last = before.get(event.user_id)
            if last is not None:
                same = (last.artist_name, last.album_name) == (event.artist_name, event.album_name)
                follows = number(event) == number(last) + 1
                goes_on.setdefault(event.user_id, []).append(same and follows)
            before[event.user_id] = event
    shares = sorted(sum(one) / len(one) for one in goes_on.values() if len(one) >= 100)
    assert shares[len(shares) // 10] < 0.05
    assert shares[-len(shares) // 10] > 0.25
    assert 0.1 < sum(map(sum, goes_on.values())) / sum(map(len, goes_on.values())) < 0.4


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


def test_live_events_are_of_the_listeners_and_tracks_of_the_simulated_days() -> None:
    """A feed goes on where the days before it end: the same tracks, albums and main devices, in every round."""
    simulation = Simulation(4_000, 20, 30)
    past = simulate(simulation)
    live = list(itertools.islice(Simulator(simulation).live(), 5_500))
    known = {
        track.track_id: track
        for track in all_tracks(make_catalog(random.Random(simulation.seed), world=simulation.seed))
    }
    for _, event in past + live:
        track = known[event.track_id]
        assert (event.track_name, event.artist_name, event.album_name) == (track.name, track.artist, track.album)

    def main_devices(made: Events) -> dict[str, str | None]:
        devices: dict[str, Counter[str | None]] = {}
        for topic, event in made:
            if topic == PLAYS:
                devices.setdefault(event.user_id, Counter())[event.device_type] += 1
        return {u: count.most_common(1)[0][0] for u, count in devices.items() if count.total() >= 100}

    before, now = main_devices(past), main_devices(live)
    both = before.keys() & now.keys()
    assert len(both) > 5
    assert len({before[user] for user in both}) > 1
    assert sum(before[user] == now[user] for user in both) > 0.7 * len(both)


def test_seeds_share_no_track() -> None:
    """Two simulations in one lake: an id must not name two tracks."""
    one, other = ({e.track_id for _, e in Simulator(Simulation(plays=300, seed=seed)).events()} for seed in (1, 2))
    assert one
    assert one & other == set()
