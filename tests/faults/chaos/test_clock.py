"""What waits does so by the monotonic clock: a wall clock that jumps back by hours makes nobody wait for hours."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from playlake.broker import Admin
from playlake.settings import Settings
from tests.faults.chaos.clock import JUMPS_S, WallClock

POLLING = """
import json, time
from playlake.broker import Consumer
from playlake.settings import Settings
assigned = []
consumer = Consumer(
    Settings(_env_file=None), ["jumps"], group="jumps", on_assign=lambda p: assigned.append(p) or {},
    on_revoke=lambda _: None,
)
print("polling", flush=True)
longest, jump, ends = 0.0, 0.0, time.monotonic() + 30
off = time.time() - time.monotonic()
while (began := time.monotonic()) < ends:
    consumer.poll(100, 0.2)
    longest = max(longest, time.monotonic() - began)
    jump = max(jump, abs(time.time() - time.monotonic() - off))
print(json.dumps({"longest": longest, "jump": jump, "assignments": len(assigned)}), flush=True)
consumer.close()
"""


def test_a_member_polls_on_and_stays_one_while_the_clock_jumps(stack_settings: Settings, tmp_path: Path) -> None:
    """librdkafka waits until times of day; with a member whose partitions have nothing, nothing else would wake it."""
    with Admin(stack_settings) as admin:
        admin.ensure(("jumps",))
    clock, rng = WallClock(tmp_path), random.Random(3)
    env = {**os.environ, **stack_settings.environment(), **clock.env}
    with subprocess.Popen([sys.executable, "-c", POLLING], env=env, stdout=subprocess.PIPE, text=True) as polling:
        try:
            assert polling.stdout
            assert polling.stdout.readline() == "polling\n"
            until = time.monotonic() + 28
            while time.monotonic() < until:
                clock.shift(rng.choice((0, *JUMPS_S)))
                time.sleep(rng.uniform(0.05, 1.0))
            clock.shift(0)
            out, _ = polling.communicate(timeout=60)
        finally:
            polling.kill()
    found = json.loads(out)
    assert found["jump"] > 500, "the clock has jumped"
    assert found["longest"] < 3, found
    assert found["assignments"] == 1, found
