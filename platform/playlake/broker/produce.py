"""Producing events: acknowledged by all replicas or reported."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

import kafka.errors
import stamina
from kafka import KafkaProducer

from playlake import log
from playlake.broker import config
from playlake.broker.admin import answers
from playlake.errors import UnavailableError
from playlake.settings import Settings

_log = log.get("broker")
stamina.instrumentation.set_on_retry_hooks([])  # we tell it ourselves, in words

_PASSING = (
    kafka.errors.UnknownError,  # Tansu, while its store is away
    kafka.errors.BrokerNotAvailableError,
    kafka.errors.OutOfOrderSequenceNumberError,  # idempotent producing, after a batch was given up
    kafka.errors.UnknownProducerIdError,
)
"""Errors that kafka-python does not retry, and after which a message can be sent again all the same."""


class _Message(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None


class _UnacknowledgedError(Exception):
    """Some messages have come back."""


class Producer:
    """Sends messages and counts what the broker acknowledged.

    Sending is asynchronous; :meth:`flush` waits, and :attr:`acknowledged` is exact after it. A message is sent again
    until it is acknowledged or an outage has lasted ``outage_s``: the broker may then hold it twice, and not in order
    (the event's id and time absorb that), but never not at all without an error here.

    :param outage_s: how long the broker may be away, in seconds, counted from the first message that came back.
    :raises UnavailableError: when the broker does not answer, with how many messages it had acknowledged.
    """

    def __init__(self, settings: Settings, *, outage_s: float = 30.0) -> None:
        self._settings = settings
        if not answers(settings, settings.kafka_timeout_s):
            raise config.down(settings, "no connection")
        self._lock = threading.Lock()
        self._returned: deque[tuple[_Message, BaseException]] = deque()
        self._outage_s = outage_s
        self.sent = 0
        self.acknowledged = 0
        delivery = int(min(outage_s, 30.0) * 1000)
        try:
            self._producer: Any = KafkaProducer(
                **config.kafka_python(settings),
                acks="all",
                # Tansu 0.6 can lose an acknowledged batch of an idempotent producer when it is killed.
                enable_idempotence=settings.profile != "embedded",
                linger_ms=20,
                batch_size=256 * 1024,
                max_request_size=config.MAX_MESSAGE_BYTES,
                delivery_timeout_ms=delivery,
                request_timeout_ms=max(1000, min(delivery // 2, 30_000)),
                max_block_ms=delivery,
                bootstrap_timeout_ms=int(settings.kafka_timeout_s * 1000),
            )
        except kafka.errors.KafkaError as error:
            raise config.down(settings, type(error).__name__) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        whole = False
        try:
            if kind is None:
                self.flush()
                whole = True
        finally:
            self._close(5 if whole else 0)

    def _close(self, timeout_s: float) -> None:
        """Let go of the broker. What was not sent is told by flush, or an error is on its way that none may replace."""
        try:
            self._producer.close(timeout=timeout_s)
        except kafka.errors.KafkaTimeoutError:
            # Something was under way, and kafka-python (3.0) has left its thread running.
            self._producer._sender.force_close()
            self._producer._sender.join(5)
            with suppress(kafka.errors.KafkaTimeoutError):
                self._producer.close(timeout=0)

    def send(self, topic: str, key: str | bytes | None, value: bytes | None) -> None:
        """Queue one message. Waits while the broker is away."""
        if self._returned:
            self._send_again()
        self.sent += 1
        self._queue(_Message(topic, key.encode() if isinstance(key, str) else key, value))

    def flush(self) -> None:
        """Wait until all that was sent is acknowledged."""
        self._producer.flush()
        if self._returned:
            self._send_again()

    def _queue(self, message: _Message) -> None:
        try:
            future = self._producer.send(message.topic, key=message.key, value=message.value)
        except kafka.errors.KafkaError as error:
            self._on_failure(message, error)
            return
        future.add_callback(self._on_acknowledged)
        future.add_errback(lambda error: self._on_failure(message, error))

    def _send_again(self) -> None:
        try:
            for attempt in stamina.retry_context(
                on=_UnacknowledgedError, attempts=None, timeout=self._outage_s, wait_initial=0.2
            ):
                with attempt:
                    for _ in range(len(self._returned)):
                        message, error = self._returned[0]
                        if not (isinstance(error, _PASSING) or getattr(error, "retriable", False)):
                            raise self._down(error) from error
                        self._queue(message)
                        self._returned.popleft()  # only now: Ctrl-C in between must not forget it
                    self._producer.flush()
                    if self._returned:
                        reason = type(self._returned[0][1]).__name__
                        _log.warning(
                            "the broker gave messages back; sending them again", count=len(self._returned), why=reason
                        )
                        raise _UnacknowledgedError(f"{len(self._returned)} messages came back: {reason}")
        except _UnacknowledgedError:
            error = self._returned[0][1]
            raise self._down(error) from error

    def _on_acknowledged(self, _metadata: object) -> None:
        with self._lock:
            self.acknowledged += 1

    def _on_failure(self, message: _Message, error: BaseException) -> None:
        self._returned.append((message, error))

    def _down(self, error: BaseException) -> UnavailableError:
        if isinstance(error, kafka.errors.MessageSizeTooLargeError):
            return UnavailableError(f"A message is too large to be sent: {error}")
        return config.down(
            self._settings,
            f"{type(error).__name__}; {self.acknowledged:,} of {self.sent:,} messages acknowledged,"
            " the rest may be lost",
        )
