"""What the API takes and gives besides the records themselves; all of it is in its OpenAPI document."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from neurobatch.codes import Code
from neurobatch.records import (
    Artifact,
    Extent,
    Finding,
    Label,
    LeftOutLine,
    ModelUse,
    Options,
    PlannedScan,
    Result,
    ScanId,
    ScanKind,
    ScanState,
    Status,
    Value,
)

MOST = 1000  # items of one page of any list


class Fault(Value):
    """One field that is wrong."""

    pointer: str  # JSON pointer or name of the field
    detail: str


class Problem(Value):
    """An error, as RFC 9457 has it: media type `application/problem+json`."""

    type: str  # where the code is described
    title: str  # the code's sentence
    status: int
    detail: str | None = None  # what happened this time
    code: Code  # stable; programs branch on it
    errors: tuple[Fault, ...] = ()
    incident: str | None = None  # of an internal error: finds its line in the log


class Named(Value):
    """A place below a root, by the root's name and a relative path; or an absolute path or URL below one."""

    root: str | None = None
    path: Annotated[str, Field(max_length=4096)] = ""
    place: Annotated[str, Field(max_length=4096)] | None = None  # /folder/file, file:///folder, s3://bucket/prefix


class Submission(Value):
    """A batch over what lies below the operator's roots; nothing is uploaded."""

    sources: tuple[Named, ...]
    options: Options = Options()
    label: Annotated[str, Field(max_length=200)] = ""
    expires: AwareDatetime | None = None


class ListQuery(Value):
    """How much of a list, and from where."""

    limit: Annotated[int, Field(ge=1, le=MOST)] = 50
    cursor: Annotated[str, Field(max_length=64)] | None = None  # `next` of the page before


class ScanQuery(ListQuery):
    """Which scans of a batch."""

    state: ScanState | None = None
    finding: Label | None = None


class BatchPage(Value):
    """Batches, newest first."""

    items: tuple[Status, ...]
    next: str | None = None  # cursor of the next page; null: this is the last


class ScanView(Value):
    """A scan: its result, or that it is still pending."""

    scan: ScanId
    state: ScanState
    kind: ScanKind
    source: Annotated[int, Field(ge=0)]
    path: str
    files: Annotated[int, Field(ge=1)]
    study_uid: str | None = None
    series_uid: str | None = None
    slices: Annotated[int, Field(ge=0)] = 0
    code: Code | None = None  # why it failed
    finding: Finding | None = None
    extents: tuple[Extent, ...] = ()
    warnings: tuple[Code, ...] = ()
    models: tuple[ModelUse, ...] = ()
    engine: str | None = None
    precision: str | None = None
    processor: str | None = None
    artifacts: tuple[Artifact, ...] = ()  # at `artifacts/{name}` below the scan's address

    @classmethod
    def of(cls, result: Result) -> "ScanView":
        """A scan that is done."""
        return cls.model_construct(**{name: getattr(result, name) for name in cls.model_fields})

    @classmethod
    def pending(cls, scan: PlannedScan) -> "ScanView":
        """A scan that has no result yet."""
        return cls(
            scan=scan.id,
            state=ScanState.PENDING,
            kind=scan.kind,
            source=scan.files[0].source,
            path=scan.path,
            files=len(scan.files),
            study_uid=scan.study_uid,
            series_uid=scan.series_uid,
        )


class ScanPage(Value):
    """Scans in plan order. May hold fewer than the limit, or none, and still have a `next`."""

    items: tuple[ScanView, ...]
    next: str | None = None


class LeftOutPage(Value):
    """Files that are in no scan, in plan order."""

    items: tuple[LeftOutLine, ...]
    next: str | None = None


class CodeView(Value):
    """A stable code and what it means."""

    code: Code
    sentence: str
    status: int  # of a request that ends with it


class CodeList(Value):
    """All stable codes."""

    items: tuple[CodeView, ...]
    disclaimer: str


class ModelView(Value):
    """A shipped network."""

    name: str
    kind: Literal["classifier", "segmenter"]
    sha256: str  # of the weight file
    profile: str  # how its slices are prepared
    size: int  # px, side of its square input
    threshold: float  # calibrated probability from which a slice is positive
    review_low: float  # calibrated probabilities from here …
    review_high: float  # … to here need review
    channels: tuple[str, ...]  # what each mask channel means
    licence: str  # of the weights
    card: str  # Markdown: data, figures, limits


class ModelList(Value):
    """All shipped networks."""

    items: tuple[ModelView, ...]
    disclaimer: str


class Health(Value):
    """Whether this process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(Value):
    """Whether batches would be worked on now."""

    ready: bool
    store: bool
    broker: bool
    worker: bool  # a worker was seen alive within the last minute
    version: str
