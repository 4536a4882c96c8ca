"""The records: every noun that travels or lasts, as one frozen, versioned pydantic model each.

A stored record names its schema (`neurobatch.batch/1`). A reader accepts every older version and refuses a newer
one by name. Canonical bytes: UTF-8 JSON, keys sorted, no blanks, so equal records are equal bytes.
The same classes are the API's OpenAPI components. Times are UTC; lengths in millimetres; sizes in bytes.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurobatch.codes import Code
from neurobatch.errors import Broken

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Arithmetic = Literal["float32", "mixed", "bfloat16"]  # mixed: classifiers in bfloat16, outlines in float32
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Tenant = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
BatchId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
ScanId = Annotated[str, Field(pattern=r"^[0-9]{9,}-[0-9a-f]{12}$")]


class BatchState(StrEnum):
    """Where a batch stands."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    ABANDONED = "abandoned"


class ScanState(StrEnum):
    """Where a scan stands; all but `pending` are final."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Label(StrEnum):
    """The verdict on one scan."""

    TUMOUR = "tumour"
    NO_TUMOUR = "no_tumour"
    NEEDS_REVIEW = "needs_review"


class ScanKind(StrEnum):
    """What a scan is made of."""

    PICTURE = "picture"
    DICOM = "dicom"
    NIFTI = "nifti"


class Value(BaseModel):
    """A frozen part of a record; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Record(Value):
    """A record that is stored by itself or as a line; knows its schema's name and version."""

    SCHEMA: ClassVar[str]
    VERSION: ClassVar[int] = 1

    def body(self) -> dict[str, Any]:
        """What JSON says of it, with the schema's name and version among the fields."""
        body: dict[str, Any] = self.model_dump(mode="json")
        body["schema"] = f"neurobatch.{self.SCHEMA}/{self.VERSION}"
        return body

    def dump(self) -> bytes:
        """Canonical JSON bytes."""
        return json.dumps(self.body(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def upgrade(cls, body: dict[str, Any], version: int) -> dict[str, Any]:
        """Bring an older version's fields to this version; subclasses override when they raise VERSION."""
        return body

    @classmethod
    def load(cls, data: bytes | str) -> Self:
        """Read canonical or pretty JSON.

        Raises:
            Broken: the bytes are no such record, or of a newer version than this program knows.
        """
        try:
            body = json.loads(data)
            name, _, version = str(body.pop("schema", "")).partition("/")
        except (ValueError, AttributeError, TypeError) as error:
            raise Broken(Code.INTERNAL, f"a stored {cls.SCHEMA} record is not JSON") from error
        if name != f"neurobatch.{cls.SCHEMA}" or not version.isdigit():
            raise Broken(Code.INTERNAL, f"a stored record is not a {cls.SCHEMA}")
        if int(version) > cls.VERSION:
            raise Broken(
                Code.INTERNAL,
                f"a stored {cls.SCHEMA} record has version {version}; this neurobatch reads up to {cls.VERSION}",
            )
        try:
            return cls.model_validate(cls.upgrade(body, int(version)))
        except ValidationError as error:
            places = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
            raise Broken(Code.INTERNAL, f"a stored {cls.SCHEMA} record is damaged at {places}") from error


R = TypeVar("R", bound=Record)


def dump_lines(records: Iterable[Record]) -> bytes:
    """JSON Lines: one canonical record a line, each ended by a newline."""
    return b"".join(record.dump() + b"\n" for record in records)


def load_lines(kind: type[R], data: bytes) -> Iterator[R]:
    """The records of JSON Lines bytes, in order."""
    return (kind.load(line) for line in data.split(b"\n") if line)


# -- what is asked for -----------------------------------------------------------------------------------------


class UploadSource(Value):
    """A file that was uploaded: object `inputs/{number}`."""

    kind: Literal["upload"] = "upload"
    number: Annotated[int, Field(ge=0)]
    name: Annotated[str, Field(max_length=1024)]  # the user's own path; stays in records, never in logs
    size: Annotated[int, Field(ge=0)]  # bytes
    sha256: Sha256


class RootSource(Value):
    """A file, folder, object or prefix below a named root, read in place."""

    kind: Literal["root"] = "root"
    root: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    path: Annotated[str, Field(max_length=4096)] = ""  # relative, "/"-separated; "" is the root itself


Source = Annotated[UploadSource | RootSource, Field(discriminator="kind")]


class Options(Value):
    """What a batch asks of the pipeline; all have defaults."""

    classifier: Literal["mobilenet", "resnet50v2", "both"] = "mobilenet"
    segment: Literal["positive", "all", "none"] = "positive"
    profile: Literal["plain", "nlm-clahe"] | None = None  # None: each network's own
    threshold: Probability | None = None  # None: each network's own
    series: Literal["uid", "folder"] = "uid"
    queue: Literal["urgent", "normal", "bulk"] = "normal"
    engine: Literal["auto", "openvino", "tensorflow", "timed"] = "auto"
    precision: Arithmetic | Literal["auto"] = "auto"  # auto: as the worker's settings say
    slices_per_shard: Annotated[int, Field(ge=1, le=100_000)] = 512


class Manifest(Value):
    """Where the list of uploads lies when it is too long for `batch.json`."""

    count: Annotated[int, Field(ge=1)]
    sha256: Sha256


class Batch(Record):
    """What one submission asks for; `batch.json` is the commit point of acceptance.

    Version 2 may leave the precision to the site.
    """

    SCHEMA: ClassVar[str] = "batch"
    VERSION: ClassVar[int] = 2

    id: BatchId
    tenant: Tenant
    created: AwareDatetime
    label: Annotated[str, Field(max_length=200)] = ""  # the user's own word for it
    sources: tuple[Source, ...] = ()
    manifest: Manifest | None = None  # uploads in inputs/manifest.jsonl, after `sources`
    options: Options = Options()
    expires: AwareDatetime | None = None
    listing: Sha256 | None = None  # over names, sizes and times of what `process` was given: resuming finds it
    abandoned: bool = False  # closed by recovery: it was never fully handed over


class UploadLine(Record):
    """One upload in `inputs/manifest.jsonl`."""

    SCHEMA: ClassVar[str] = "upload"

    source: UploadSource


class Idempotency(Record):
    """Which batch an Idempotency-Key made, and of what request."""

    SCHEMA: ClassVar[str] = "idempotency"

    batch: BatchId
    request: Sha256


# -- the plan --------------------------------------------------------------------------------------------------


class SeriesForm(Value):
    """The last step from a series' evidence to its verdict; `pipeline.series` says how it is used."""

    mask_weight: Annotated[float, Field(ge=0)] = 0.0  # of what masks add to the slices' evidence; 0: nothing
    offset: float  # log-odds; evidence at which the probability is one half
    temperature: Annotated[float, Field(gt=0)]  # log-odds beyond it are divided by it
    threshold: Probability
    review_low: Probability  # probabilities in [low, high] need review
    review_high: Probability


class SeriesRule(Value):
    """How one classifier's slices, and the masks where there are, make the verdict on a series."""

    name: str
    version: Annotated[int, Field(ge=0)]  # 0: not fitted
    span_mm: Annotated[float, Field(gt=0)]  # how far a run of neighbouring slices reaches
    shortest: Annotated[int, Field(ge=1)]  # slices of a run
    head_mm: Annotated[float, Field(gt=0)]  # what a series shows where the distance of its slices is not known
    clip: Annotated[float, Field(gt=0)]  # log-odds that one slice can say at most
    floor: Annotated[float, Field(gt=0)]  # share of a plane under which a mask says little
    mask_from: Probability  # by the classifier alone: from here masks are drawn where they decide
    alone: SeriesForm
    with_mask: SeriesForm


class OddnessPin(Value):
    """The check of how unlike its training pictures a slice is, as a batch is pinned to it."""

    sha256: Sha256  # of its file, object models/{sha256}
    threshold: Annotated[float, Field(gt=0)]  # a slice is odd from this distance on


class ModelPin(Value):
    """A network as a batch is pinned to it: everything that its verdict depends on."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    kind: Literal["classifier", "segmenter"]
    sha256: Sha256  # of the weight file, object models/{sha256}
    profile: Literal["plain", "nlm-clahe"]
    size: Annotated[int, Field(ge=32)]  # px, side of the square input
    temperature: Annotated[float, Field(gt=0)] = 1.0
    threshold: Probability
    threshold_of: Literal["card", "batch", "site"] = "card"  # who set it; a classifier's only
    review_low: Probability  # probabilities in [low, high] need review
    review_high: Probability
    channels: tuple[str, ...] = ()  # what each mask channel means
    forced: bool = False  # the batch forced a profile that the network was not trained with
    series: SeriesRule | None = None  # how a classifier's slices make a verdict; None: as before there were rules
    oddness: OddnessPin | None = None  # None: this network has no such check


class PlanStart(Record):
    """What the planner pins: `plan/start.json`. Version 2 has rules for series, and says whose threshold it is."""

    SCHEMA: ClassVar[str] = "plan-start"
    VERSION: ClassVar[int] = 2

    models: tuple[ModelPin, ...]
    precision: Arithmetic
    software: str


class FileRef(Value):
    """Where the bytes of one file lie, and how to see that they are still the same."""

    source: Annotated[int, Field(ge=0)]  # number of the source in the batch
    path: str = ""  # below the source; "" where the source is itself the file
    member: Annotated[int, Field(ge=0)] | None = None  # position in the archive, where the file is one
    name: str = ""  # the member's name in the archive
    size: Annotated[int, Field(ge=0)]  # bytes, of the file or member
    stamp: str  # of the outermost file: mtime in ns (path), ETag (object), sha256 (upload)

    @property
    def shown(self) -> str:
        """The path as the user knows it, below the source."""
        return "/".join(part for part in (self.path, self.name) if part)


class PlannedScan(Value):
    """One scan of the plan."""

    id: ScanId
    kind: ScanKind
    path: str  # as the user knows it: source, file or folder, member
    files: Annotated[tuple[FileRef, ...], Field(min_length=1)]
    slices: Annotated[int, Field(ge=1)]  # as the headers promise; decides the shard's size
    part: Annotated[int, Field(ge=0)] = 0  # which volume, where the files of one series hold several
    study_uid: str | None = None
    series_uid: str | None = None


class Shard(Value):
    """Scans that are worked on and committed together."""

    number: Annotated[int, Field(ge=0)]
    scans: Annotated[tuple[PlannedScan, ...], Field(min_length=1)]


class Cursor(Value):
    """Where the listing goes on after a page."""

    phase: Literal["listing", "series", "done"] = "listing"
    source: int = 0  # number of the source
    after: str = ""  # last path that was looked at in it
    member: int = -1  # last member that was looked at, where that path is an archive
    series: int = 0  # number of series already planned, in the series phase


class NamedFile(Value):
    """An object of a batch that is named by its content."""

    name: str  # below the batch
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]  # bytes
    lines: Annotated[int, Field(ge=0)] = 0


class Page(Record):
    """A part of the plan: `plan/{number}.json`, written in order."""

    SCHEMA: ClassVar[str] = "page"

    number: Annotated[int, Field(ge=0)]
    shards: tuple[Shard, ...]
    cursor: Cursor  # after this page
    files: Annotated[int, Field(ge=0)]  # files looked at for this page
    members: NamedFile | None = None  # files of series that are not yet complete
    left_out: NamedFile | None = None


class PlanEnd(Record):
    """The commit point of planning: `plan/end.json`. Pages beyond `pages` do not exist."""

    SCHEMA: ClassVar[str] = "plan-end"

    pages: Annotated[int, Field(ge=0)]
    code: Code | None = None  # why planning failed, or that it was cut short by `cancel`
    outcome: Literal["planned", "cancelled", "failed"] = "planned"


class LeftOutLine(Record):
    """One file that is in no scan."""

    SCHEMA: ClassVar[str] = "left-out"

    source: Annotated[int, Field(ge=0)]
    path: str
    code: Code


class MemberLine(Record):
    """One file of a series that is not yet complete: `plan/members-…`."""

    SCHEMA: ClassVar[str] = "member"

    file: FileRef
    header: dict[str, Any]  # pipeline.read's DicomHeader, as JSON


# -- results ---------------------------------------------------------------------------------------------------


class ClassifierVerdict(Value):
    """What one classifier says of a scan."""

    model: str
    probability: Probability  # calibrated
    threshold: Probability


class Finding(Value):
    """The verdict on a scan, and why a person should look where it says so."""

    label: Label
    probability: Probability  # calibrated
    threshold: Probability
    classifiers: tuple[ClassifierVerdict, ...] = ()
    reasons: tuple[Code, ...] = ()


class Extent(Value):
    """How large the segmented region is, for one definition of it."""

    definition: str  # the mask channel's meaning, as the card says
    pixels: Annotated[int, Field(ge=0)]  # px of a picture, voxels of a volume
    area_mm2: float | None = None  # pictures with spacing; the largest slice of volumes
    volume_mm3: float | None = None
    diameter_mm: float | None = None  # longest in-plane, where spacing is known
    components: Annotated[int, Field(ge=0)] = 0
    slices: Annotated[int, Field(ge=0)] = 0  # slices with a mask
    largest_slice: int | None = None  # index in the scan


class Artifact(Value):
    """A file of a result: object `artifacts/{scan}/{result}/{name}`."""

    name: str
    media_type: str
    size: Annotated[int, Field(ge=0)]  # bytes
    sha256: Sha256


class ModelUse(Value):
    """Which network was used, and on slices prepared how."""

    name: str
    sha256: Sha256
    profile: str


class Result(Record):
    """One scan's final line. No time and no host in it, so that a re-run proves itself byte by byte."""

    SCHEMA: ClassVar[str] = "result"

    scan: ScanId
    state: ScanState
    code: Code | None = None  # why it failed
    kind: ScanKind
    source: Annotated[int, Field(ge=0)]
    path: str
    files: Annotated[int, Field(ge=1)]
    study_uid: str | None = None
    series_uid: str | None = None
    slices: Annotated[int, Field(ge=0)] = 0
    finding: Finding | None = None
    extents: tuple[Extent, ...] = ()
    warnings: tuple[Code, ...] = ()
    models: tuple[ModelUse, ...] = ()
    engine: str | None = None
    precision: str | None = None
    processor: str | None = None  # class of processor, such as x86-64-v4
    artifacts: tuple[Artifact, ...] = ()

    @model_validator(mode="after")
    def _final(self) -> Self:
        if self.state is ScanState.PENDING:
            raise ValueError("a result is final")
        if (self.state is ScanState.FAILED) != (self.code is not None):
            raise ValueError("a failed scan has a code, and no other has")
        return self


class ContentLine(Record):
    """What a judged scan holds: a line of `shards/{n}/contents.jsonl`, put before the shard is committed."""

    SCHEMA: ClassVar[str] = "content"

    scan: ScanId
    content: Sha256  # over its planes and geometry, as they were read
    reused: bool = False  # its result was taken over from another scan's
    kept: Sha256 | None = None  # key of the `Reusable` that was put for it; None: none was


class Reusable(Record):
    """A result that scans with the same pixels, networks and options may take over: `reuse/{tenant}/{key}`.

    It only points: all that tells of a patient stays with the batch, and goes with it.
    """

    SCHEMA: ClassVar[str] = "reusable"

    batch: BatchId
    scan: ScanId
    artifacts: tuple[Artifact, ...]


class DuplicateLine(Record):
    """A scan whose content came before in the same batch: a line of `results/{digest}.duplicates.jsonl`."""

    SCHEMA: ClassVar[str] = "duplicate"

    scan: ScanId
    path: str
    first: ScanId  # in plan order
    first_path: str


class Attempt(Record):
    """One try of a shard: `shards/{n}/attempt-{k}`."""

    SCHEMA: ClassVar[str] = "attempt"

    number: Annotated[int, Field(ge=1)]
    holder: str
    started: AwareDatetime


class Cancel(Record):
    """The wish to cancel: `cancel.json`."""

    SCHEMA: ClassVar[str] = "cancel"

    requested: AwareDatetime


class Counts(Value):
    """Scans by state and by finding."""

    succeeded: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0
    skipped: Annotated[int, Field(ge=0)] = 0
    cancelled: Annotated[int, Field(ge=0)] = 0
    tumour: Annotated[int, Field(ge=0)] = 0
    no_tumour: Annotated[int, Field(ge=0)] = 0
    needs_review: Annotated[int, Field(ge=0)] = 0
    slices: Annotated[int, Field(ge=0)] = 0

    @property
    def done(self) -> int:
        """Scans with a final state."""
        return self.succeeded + self.failed + self.skipped + self.cancelled

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields})

    @classmethod
    def of(cls, results: Iterable[Result]) -> "Counts":
        """Count result lines."""
        tally = dict.fromkeys(cls.model_fields, 0)
        for result in results:
            tally[result.state.value] += 1
            tally["slices"] += result.slices
            if result.finding is not None:
                tally[result.finding.label.value] += 1
        return cls(**tally)


class End(Record):
    """The commit point of a batch: `end.json`. Version 2 tells of scans that came before."""

    SCHEMA: ClassVar[str] = "end"
    VERSION: ClassVar[int] = 2

    state: BatchState
    code: Code | None = None
    finished: AwareDatetime
    scans: Annotated[int, Field(ge=0)]
    counts: Counts
    left_out: Annotated[int, Field(ge=0)]
    warnings: tuple[Code, ...] = ()
    results: NamedFile | None = None  # JSON Lines, one result a scan, in plan order
    table: NamedFile | None = None  # the same as CSV
    left_out_list: NamedFile | None = None
    reused: Annotated[int, Field(ge=0)] = 0  # scans that took over another scan's result
    duplicates: NamedFile | None = None  # scans whose content came before in the batch; None: there are none


class Status(Value):
    """What a poller sees of a batch."""

    id: BatchId
    label: str
    state: BatchState
    code: Code | None = None
    created: AwareDatetime
    finished: AwareDatetime | None = None
    planned: bool  # False: `scans` still grows
    scans: Annotated[int, Field(ge=0)]
    counts: Counts  # of scans that are done for good
    live: Counts = Counts()  # judged so far in shards that are not committed; a worker that dies takes its share back
    left_out: Annotated[int, Field(ge=0)]
    reused: Annotated[int, Field(ge=0)] = 0  # scans that took over another's result; told when the batch has ended
    duplicates: Annotated[int, Field(ge=0)] = 0  # scans whose content came before in the batch; likewise
    cancelling: bool = False
    warnings: tuple[Code, ...] = ()
    disclaimer: str


def utc(moment: datetime) -> str:
    """RFC 3339 in UTC, as the API writes times."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
