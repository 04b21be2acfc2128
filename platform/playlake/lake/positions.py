"""How far the lake is in each partition of the log."""

from __future__ import annotations

from collections.abc import Mapping

from playlake.broker import TopicInfo, TopicPartition
from playlake.lake import tables
from playlake.lake.deliver import app_id
from playlake.lake.store import Store
from playlake.settings import Settings


def landed(settings: Settings, topics: Mapping[str, TopicInfo]) -> dict[TopicPartition, int]:
    """The next offset to be landed of each partition of these topics: 0 where nothing has been.

    :raises UnavailableError: when the store is away.
    """
    found = {}
    store = Store(settings)
    for topic, info in topics.items():
        table = tables.bronze(settings, topic, store)
        there = table.is_there()
        for number in range(info.partitions):
            app = app_id(topic, info.topic_id, number)
            found[TopicPartition(topic, number)] = (table.position(app) if there else None) or 0
    return found
