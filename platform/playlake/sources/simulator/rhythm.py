"""When simulated listeners listen: by the weekday and the hour of their own clocks."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, cycle, islice

# Share of a day's listening by its hours: little at night, two peaks; weekends start later and last longer.
WORKDAY_HOURS = (1, 1, 0, 0, 0, 1, 3, 6, 7, 5, 4, 4, 5, 4, 4, 5, 6, 8, 9, 9, 8, 6, 4, 2)
WEEKEND_HOURS = (3, 2, 1, 1, 0, 0, 1, 2, 3, 5, 7, 8, 8, 7, 7, 7, 7, 7, 8, 8, 8, 7, 6, 4)

_WEEKS = (
    (6, (0.90, 0.90, 0.95, 1.10, 1.25, 1.20, 1.00)),  # a bit more from Thursday to Saturday
    (3, (0.60, 0.60, 0.65, 0.80, 1.30, 1.90, 1.60)),  # for the weekend
    (2, (1.15, 1.15, 1.15, 1.20, 1.20, 0.70, 0.60)),  # at work
)
"""How many listeners have such a week, and its days' shares of listening, from Monday on."""

_WORKDAY, _WEEKEND = list(accumulate(WORKDAY_HOURS)), list(accumulate(WEEKEND_HOURS))
_COMMUTING = (7, 8, 17, 18)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A listener's week. ``week`` weighs the days, from Monday on; the clock is ``offset_h`` hours ahead of UTC."""

    week: tuple[float, ...]
    offset_h: int

    def starts(self, rng: random.Random, count: int, first: datetime, last: datetime) -> list[datetime]:
        """So many moments (UTC) from ``first`` to before ``last``, in order. The two must be over 3 hours apart."""
        offset = timedelta(hours=self.offset_h)
        midnight = (first + offset).replace(hour=0, minute=0, second=0, microsecond=0)
        days = range((last + offset - midnight).days + 1)
        weekday = midnight.weekday()
        by_day = list(accumulate(islice(cycle(self.week[weekday:] + self.week[:weekday]), len(days))))
        starts: list[datetime] = []
        while len(starts) < count:
            day = rng.choices(days, cum_weights=by_day)[0]
            hours = _WEEKEND if (weekday + day) % 7 >= 5 else _WORKDAY
            hour = rng.choices(range(24), cum_weights=hours)[0]
            start = midnight + timedelta(days=day, hours=hour, seconds=rng.randrange(3600)) - offset
            # The span begins and ends within days of the listener's clock.
            if first <= start < last:
                starts.append(start)
        return sorted(starts)

    def commutes(self, at: datetime) -> bool:
        """Whether ``at`` (UTC) is an hour in which people go to work or come from there."""
        local = at + timedelta(hours=self.offset_h)
        return local.weekday() < 5 and local.hour in _COMMUTING


def make_rhythm(rng: random.Random) -> Rhythm:
    """A week and a clock, as listeners have them."""
    [(_, week)] = rng.choices(_WEEKS, [how_many for how_many, _ in _WEEKS])
    return Rhythm(week, rng.choice((-5, 0, 0, 1, 1, 1, 8)))
