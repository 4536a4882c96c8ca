"""A page of the plan while it is drafted: scans, members of series, left-out files; and how scans make shards."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neurobatch.codes import Code
from neurobatch.records import (
    Cursor,
    FileRef,
    LeftOutLine,
    MemberLine,
    Options,
    Page,
    PlannedScan,
    ScanKind,
    Shard,
)
from storage.ledger import Ledger
from storage.names import PAGE_SPAN, BatchKey, scan_id
from worker.notes import Spot
from worker.sources import SourcesConfig

SHARD_SCANS = 64


@dataclass(frozen=True, kw_only=True)
class PageLimits:
    """How much one page and one shard hold."""

    scans: int = PAGE_SPAN  # of a page; never more than its numbers span
    files: int = 20_000  # of a page
    shard_scans: int = SHARD_SCANS


@dataclass(frozen=True, kw_only=True)
class PageTask:
    """Which page to draft, and how; travels to the child."""

    config: SourcesConfig
    key: BatchKey
    number: int
    cursor: Cursor  # where the page begins
    scratch: Path  # private folder of this machine, for the index of series
    note: Path  # file in which the spot under the child's hands is noted
    spoiled: Mapping[Spot, Code] = field(default_factory=dict)  # spots that killed a child: left out
    limits: PageLimits = field(default_factory=PageLimits)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A scan that was found, before it has a number."""

    kind: ScanKind
    files: tuple[FileRef, ...]
    slices: int
    part: int = 0
    study_uid: str | None = None
    series_uid: str | None = None


class Draft:
    """What a page will hold. Every file that is put in ends in one scan, one member line or one left-out line."""

    def __init__(self, number: int, options: Options, limits: PageLimits, shown: Callable[[FileRef], str]) -> None:
        self._number, self._options, self._limits, self._shown = number, options, limits, shown
        self.scans: list[PlannedScan] = []
        self.members: list[MemberLine] = []
        self.left_out: list[LeftOutLine] = []
        self._files = 0
        self._weight = 0

    @property
    def full(self) -> bool:
        """Whether the page must end here."""
        return len(self.scans) >= self._limits.scans or self._weight >= self._limits.files

    def fits(self, scans: int, files: int) -> bool:
        """Whether so many more would not overfill the page; one series of any size fits an empty page."""
        within = self._weight + files <= self._limits.files or not self._weight
        return len(self.scans) + scans <= self._limits.scans and within

    def look_at(self, files: int = 1) -> None:
        """Count files of the listing."""
        self._files += files
        self._weight += files

    def carry(self, files: int) -> None:
        """Count files that an earlier page had looked at."""
        self._weight += files

    def add(self, found: Found) -> None:
        """Add a scan."""
        path = common_path([self._shown(file) for file in found.files])
        ordinal = self._number * PAGE_SPAN + len(self.scans)
        self.scans.append(
            PlannedScan(
                id=scan_id(ordinal, found.files[0].source, path, found.series_uid, found.part),
                kind=found.kind,
                path=path,
                files=found.files,
                slices=found.slices,
                part=found.part,
                study_uid=found.study_uid,
                series_uid=found.series_uid,
            )
        )

    def leave_out(self, file: FileRef, code: Code) -> None:
        """Add a file that is in no scan."""
        self.left_out.append(LeftOutLine(source=file.source, path=self._shown(file), code=code))

    def put(self, ledger: Ledger, key: BatchKey, cursor: Cursor) -> Page:
        """Put the lines that the page names, and give the page; committing it is the caller's."""
        return Page(
            number=self._number,
            shards=cut(self.scans, self._number * PAGE_SPAN, self._options, self._limits),
            cursor=cursor,
            files=self._files,
            members=ledger.put_lines(key, "members", self._number, self.members),
            left_out=ledger.put_lines(key, "left-out", self._number, self.left_out),
        )


def cut(scans: Iterable[PlannedScan], first: int, options: Options, limits: PageLimits) -> tuple[Shard, ...]:
    """Cut scans into shards numbered from `first`; one that is larger than a shard should be is one alone."""
    groups = _groups(scans, options.slices_per_shard, limits.shard_scans)
    return tuple(Shard(number=number, scans=tuple(group)) for number, group in enumerate(groups, start=first))


def _groups(scans: Iterable[PlannedScan], slices: int, most: int) -> Iterator[list[PlannedScan]]:
    group: list[PlannedScan] = []
    held = 0
    for scan in scans:
        if group and (len(group) >= most or held + scan.slices > slices):
            yield group
            group, held = [], 0
        group.append(scan)
        held += scan.slices
    if group:
        yield group


def common_path(paths: Sequence[str]) -> str:
    """What a person calls these files: the one, or the folder that holds them all, else the first."""
    if len(paths) == 1:
        return paths[0]
    shared: list[str] = []
    for parts in zip(*(path.split("/")[:-1] for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared) or paths[0]
