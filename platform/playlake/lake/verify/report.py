"""What `lake verify` found."""

from __future__ import annotations

from dataclasses import dataclass, field

from playlake.broker import Withheld

SAMPLE = 5
"""Offsets named of each kind of finding."""


@dataclass(slots=True)
class PartitionReport:
    """One topic partition. Counts are of offsets."""

    topic: str
    partition: int
    log_start: int | None
    log_end: int | None
    in_log: int
    in_bronze: int
    in_dead_letters: int
    lost: int
    doubled: int
    pending: int
    expired: int = 0
    """Offsets that the log's retention removed before they were landed: nobody has them any more."""
    acknowledged: int = 0
    """As many more of them, of which somebody has said that their loss is known (`lake acknowledge`)."""
    unread: int = 0
    """Offsets at the end that the broker claims to have but does not give: never acknowledged, or lost by it."""
    lost_offsets: list[int] = field(default_factory=list)
    doubled_offsets: list[int] = field(default_factory=list)
    expired_ranges: list[tuple[int, int]] = field(default_factory=list)
    """From the first of those not acknowledged to the one after the last."""
    topic_id: str | None = None
    former: bool = False
    """Whether the topic was made anew since, and this is of the one that was."""

    @property
    def name(self) -> str:
        """The topic, for people; told from the one that has its name now."""
        return f"{self.topic} (former {(self.topic_id or '')[:8]})" if self.former else self.topic

    @property
    def healthy(self) -> bool:
        """Whether nothing is lost, expired or doubled here."""
        return not (self.lost or self.doubled or self.expired)


@dataclass(slots=True)
class FileFinding:
    """A live file that can't be read as the log has it, or holds rows of another folder; or a fault of a log."""

    path: str
    what: str


@dataclass(slots=True)
class Orphans:
    """Files that no version knows, as a writer that died leaves them: no fault, `lake prune` removes them in time."""

    files: int = 0
    bytes: int = 0
    oldest_s: float | None = None
    """Age of the oldest in seconds."""


@dataclass(slots=True)
class Report:
    """What was found. ``pending`` is produced but not landed yet, which is no fault."""

    partitions: list[PartitionReport] = field(default_factory=list)
    log_faults: list[FileFinding] = field(default_factory=list)
    missing_files: list[FileFinding] = field(default_factory=list)
    wrong_size_files: list[FileFinding] = field(default_factory=list)
    damaged_files: list[FileFinding] = field(default_factory=list)
    misplaced_files: list[FileFinding] = field(default_factory=list)
    orphans: Orphans = field(default_factory=Orphans)
    files: int = 0
    withheld: list[Withheld] = field(default_factory=list)
    """What open transactions keep from every reader: whether it lands is not known."""

    @property
    def lost(self) -> int:
        """Offsets that the lake passed over."""
        return sum(p.lost for p in self.partitions)

    @property
    def expired(self) -> int:
        """Offsets that the log's retention removed before they were landed, the acknowledged ones aside."""
        return sum(p.expired for p in self.partitions)

    @property
    def acknowledged(self) -> int:
        """The acknowledged ones."""
        return sum(p.acknowledged for p in self.partitions)

    @property
    def doubled(self) -> int:
        """Offsets that are there more than once, each surplus row counted."""
        return sum(p.doubled for p in self.partitions)

    @property
    def unreadable_files(self) -> list[FileFinding]:
        """Live files that are missing, of another size than the log has, or damaged."""
        return [*self.missing_files, *self.wrong_size_files, *self.damaged_files]

    @property
    def unreadable(self) -> int:
        """How many those are."""
        return len(self.unreadable_files)

    @property
    def misplaced(self) -> int:
        """Live files that hold rows of another hour than their folder's."""
        return len(self.misplaced_files)

    @property
    def findings(self) -> list[FileFinding]:
        """All that is wrong with logs and files."""
        return [*self.log_faults, *self.unreadable_files, *self.misplaced_files]

    @property
    def healthy(self) -> bool:
        """Whether nothing at all is wrong, and nothing is withheld that could be."""
        return not self.findings and not self.withheld and all(p.healthy for p in self.partitions)
