"""Producing to Kafka, consuming from it, and looking after topics: the only room with a Kafka SDK."""

from playlake.broker.admin import Admin, TopicInfo
from playlake.broker.client import TopicPartition, log_starts
from playlake.broker.config import withheld
from playlake.broker.consume import Consumer
from playlake.broker.offsets import read_offsets
from playlake.broker.polled import Polled
from playlake.broker.produce import Producer
from playlake.broker.transactions import Withheld, open_transactions
from playlake.broker.waiting import Waiting, waiting

__all__ = [
    "Admin",
    "Consumer",
    "Polled",
    "Producer",
    "TopicInfo",
    "TopicPartition",
    "Waiting",
    "Withheld",
    "log_starts",
    "open_transactions",
    "read_offsets",
    "waiting",
    "withheld",
]
