"""When a broker is to be asked more patiently: Tansu ends a fetch after a time, whatever it has found by then."""

from __future__ import annotations

import time
from collections.abc import Mapping

import confluent_kafka as ck

from playlake.broker.client import TopicPartition, claimed_end

PATIENT_MS = 5000
"""How long a fetch may take (``fetch.wait.max.ms``) where librdkafka's half a second has brought hardly anything.

On Kafka that is how long it waits for news. Tansu 0.6 ends the fetch then: in a partition of 20,000 batches it has
found nothing, as listing them takes longer. It waits that long to say that there is no more, too: it is not the rule.
"""

_WATCHED_S = 5.0
_FEW = 10


class Watch:
    """What comes of what was claimed to be there."""

    def __init__(self) -> None:
        self._begin({})

    def _begin(self, claimed: dict[TopicPartition, int]) -> None:
        self._since = time.monotonic()
        self._claimed = claimed
        self._messages = 0

    def starved(self, client: ck.Consumer, starts: Mapping[TopicPartition, int], messages: int) -> bool:
        """Whether of what was claimed five seconds ago ten times as much is not read yet as was read since.

        :param starts: from where on each partition is read.
        :param messages: how many came since this was asked the last time.
        """
        self._messages += messages
        if time.monotonic() - self._since < _WATCHED_S:
            return False
        read = {TopicPartition(p.topic, p.partition): p.offset for p in client.position(client.assignment())}
        behind = sum(
            max(0, end - max(starts[tp], read.get(tp, 0))) for tp, end in self._claimed.items() if tp in starts
        )
        starved: bool = behind > _FEW * self._messages
        self._begin({tp: claimed_end(client, tp) or 0 for tp in starts})
        return starved
