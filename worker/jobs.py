"""What a shard hands to the children for each scan, and what it gets back."""

from collections.abc import Mapping
from dataclasses import dataclass

from neurobatch.records import ContentLine, ModelPin, Options, PlannedScan, Result, Source
from storage.ledger import Content
from storage.names import BatchKey
from worker.messages import Network


@dataclass(frozen=True, kw_only=True)
class Job:
    """One scan to judge, with all that its verdict depends on."""

    key: BatchKey
    scan: PlannedScan
    sources: Mapping[int, Source]  # those that the scan's files lie in, by number
    options: Options
    pins: tuple[ModelPin, ...]
    networks: tuple[Network, ...]  # as pinned, in the same order
    reuse: bool = False  # whether it may take over an earlier result, and a later scan its


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A scan's result line, which names no artifacts yet, and the files that become its artifacts."""

    result: Result
    files: Mapping[str, Content]
    line: ContentLine | None = None  # what the scan holds; None: nobody looked
