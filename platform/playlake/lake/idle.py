"""When a run that is to land all there is has done so."""

from __future__ import annotations

STALL_SECONDS = 15.0
"""A partition that claims to have more but gives nothing for so long is taken to be at its end."""


class UntilIdle:
    """Decides, turn by turn, whether the end is reached. Times are seconds of a monotonic clock.

    The broker's word on where a partition ends (``ListOffsets``) is not asked: Tansu's is too low, and a transaction's
    marks keep others from ever being reached. What a read says of the end counts, or that nothing has come for long.

    :param idle_s: how long all must be still.
    """

    def __init__(self, now: float, idle_s: float) -> None:
        self._idle_s = idle_s
        self._news_at = now
        self._still_since: float | None = None
        self.stalled = False
        """Whether the last turn's end was one of :data:`STALL_SECONDS`."""
        self.drain = False
        """Whether what is buffered is to be written, though no limit of a flush is reached."""

    def go_on(self, now: float) -> None:
        """The end was not the end: be still for as long once more."""
        self._news_at, self._still_since = now, None

    def turn(self, now: float, *, read: bool, told: bool, working: bool, buffered: bool, at_end: bool) -> bool:
        """Whether the run is at its end.

        :param read: messages came in this turn.
        :param told: something else that says more may come: an end was told, the group is being joined, no broker.
        :param working: the lake is being written or asked.
        :param buffered: messages are held that the lake has not got.
        :param at_end: every partition of ours was read to its end.
        """
        if read or told or working:
            self._news_at = now
        self.stalled = not at_end and now - self._news_at > STALL_SECONDS
        self.drain = not read and (at_end or self.stalled)
        if not self.drain or working or buffered:
            self._still_since = None
            return False
        if self._still_since is None:
            self._still_since = now
        return now - self._still_since >= self._idle_s
