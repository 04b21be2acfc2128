"""Topics and groups, and telling one incarnation of a topic from the next by its id (KIP-516)."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import kafka.admin
import kafka.errors
from kafka import KafkaAdminClient

from playlake.broker import config
from playlake.errors import PlaylakeError
from playlake.settings import Settings

_NO_ID = str(uuid.UUID(int=0))
_NO_SUCH_TOPIC = kafka.errors.UnknownTopicOrPartitionError.errno


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as the broker knows it now. A topic that was deleted and made anew has another ``topic_id``."""

    name: str
    topic_id: str
    partitions: int


def answers(settings: Settings, timeout_s: float) -> bool:
    """Whether anything listens at one of the bootstrap addresses."""
    return any(config.listens(server, timeout_s) for server in config.bootstrap(settings).split(","))


class _Client(KafkaAdminClient):  # type: ignore[misc]
    def _process_acl_operations(self, described: Any) -> Any:
        """What may be done to a group is asked with each description, and Tansu 0.6 answers with bits that are none.

        librdkafka reads them, but its questions to a group's coordinator end the process where the connection goes at
        that moment: https://github.com/confluentinc/librdkafka/issues/4605
        """
        return described


class Admin:
    """Looks after topics and groups.

    :raises UnavailableError: when the broker does not answer within ``kafka_timeout_s``.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # A plain connection first: refused at once is told at once, where the client would retry for long.
        if not answers(settings, settings.kafka_timeout_s):
            raise config.down(settings, "no connection")
        milliseconds = int(settings.kafka_timeout_s * 1000)
        try:
            self._client: Any = _Client(
                **config.kafka_python(settings), bootstrap_timeout_ms=milliseconds, request_timeout_ms=milliseconds
            )
        except kafka.errors.KafkaError as error:
            raise config.down(settings, type(error).__name__) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._client.close()

    def topics(self, names: tuple[str, ...]) -> dict[str, TopicInfo]:
        """Those of ``names`` that exist.

        :raises PlaylakeError: when the broker gives topics no ids: one made anew could not be told from the one before.
        """
        try:
            found = self._client.describe_topics(list(names))
        except kafka.errors.KafkaError as error:
            raise config.down(self._settings, type(error).__name__) from error
        there = [t for t in found if t["error_code"] == 0]
        if nameless := [t["name"] for t in there if str(t.get("topic_id") or _NO_ID) == _NO_ID]:
            raise PlaylakeError(
                f"The broker gives its topics no ids ({', '.join(nameless)}): a topic made anew could not be told from"
                " the one before, and its messages would be passed over. Kafka has them since 2.8 (KIP-516)."
            )
        return {t["name"]: TopicInfo(t["name"], str(t["topic_id"]), len(t["partitions"])) for t in there}

    def delete_group(self, group: str) -> str:
        """Delete a consumer group; the name of Kafka's error where it was not, else nothing.

        Kafka deletes no group that has members (``NonEmptyGroupError``); Tansu 0.6 deletes it, and they join again.

        :raises UnavailableError: when the broker does not answer.
        """
        try:
            said = str(self._client.delete_groups([group])[group])
        except kafka.errors.KafkaError as error:
            raise config.down(self._settings, type(error).__name__) from error
        return "" if said == "OK" else said

    def forming(self, group: str) -> bool:
        """Whether Tansu gives out the parts of a group just now: it says so in a word that is no state of Kafka's.

        :raises UnavailableError: when the broker does not answer.
        """
        return self._state(group) == "Unknown"

    def forget_if_empty(self, group: str) -> bool:
        """Delete a group that nobody is in; whether it was. What goes with it are the offset hints.

        :raises UnavailableError: when the broker does not answer.
        """
        return self._state(group) == "Empty" and not self.delete_group(group)

    def _state(self, group: str) -> str:
        try:
            return str(self._client.describe_groups([group])[group]["group_state"])
        except kafka.errors.KafkaError as error:
            raise config.down(self._settings, type(error).__name__) from error

    def remove_members(self, group: str, members: list[str]) -> int:
        """Leave a consumer group for others; how many of them were in it.

        :param members: their ids.
        :raises UnavailableError: when the broker does not answer, or refuses.
        """
        asked = [kafka.admin.MemberToRemove(member_id=member) for member in members]
        try:
            said = self._client.remove_group_members(group, asked)
        except kafka.errors.KafkaError as error:
            raise config.down(self._settings, type(error).__name__) from error
        return sum(1 for kind in said.values() if kind is kafka.errors.NoError)

    def ensure(self, names: tuple[str, ...], timeout_s: float = 30.0) -> dict[str, TopicInfo]:
        """Make those of ``names`` that do not exist, and wait until all can be used."""
        missing = [n for n in names if n not in self.topics(names)]
        if missing:
            options = {
                "num_partitions": self._settings.kafka_partitions,
                "replication_factor": self._settings.kafka_replication,
                "configs": {"max.message.bytes": str(config.MAX_MESSAGE_BYTES)},
            }
            try:
                self._client.create_topics(dict.fromkeys(missing, options))
            except kafka.errors.TopicAlreadyExistsError:
                pass  # another writer was first
            except kafka.errors.KafkaError as error:
                raise PlaylakeError(
                    f"The topics {', '.join(missing)} could not be made ({type(error).__name__}). "
                    "Make them by hand, or give the Kafka user the right to create topics."
                ) from error
        deadline = time.monotonic() + timeout_s
        while len(found := self.topics(names)) < len(names):
            if time.monotonic() > deadline:
                raise config.down(self._settings, "its new topics do not appear")
            time.sleep(0.05)
        return found
