"""report.json: all that is known of one scan's result, for people and programs, in a published schema.

Written from records only, in fixed order and with rounded numbers, so that equal results are equal bytes.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import Field

from neurobatch.codes import DISCLAIMER, Code
from neurobatch.records import (
    ClassifierVerdict,
    Extent,
    Finding,
    ModelPin,
    PlannedScan,
    Probability,
    Record,
    ScanKind,
    Value,
)
from pipeline.emptiness import AIR, EMPTY_SHARE
from pipeline.geometry import Geometry
from pipeline.series import Evidence
from pipeline.volumes import PERCENTILES

MM_DIGITS = 6  # of millimetres and of the affine that are written

MASK_DEFINITION = (
    "A pixel belongs to the mask where the network's map, brought back onto the scan's own grid, reaches the threshold "
    "in any of its channels."
)
SERIES_DEFINITION = (
    "x of a slice: log-odds of its probability, within +-clip. With masks: x + mask_weight * log(1 + s / floor), s the "
    "share of the plane that its mask covers. Of every run of neighbouring slices (span_mm, at least shortest) the "
    "lower median; the largest is z. Probability: logistic((z - offset) / temperature)."
)
PHANTOM_NOTE = "The scan says that it is a phantom: it shows no patient, and its finding means nothing for one."


class Said(Value):
    """A code with the sentence that a person reads."""

    code: Code
    sentence: str

    @classmethod
    def of(cls, codes: Iterable[Code]) -> "tuple[Said, ...]":
        """Codes with their sentences."""
        return tuple(cls(code=code, sentence=code.sentence) for code in codes)


class SliceReport(Value):
    """What was found in one slice."""

    index: Annotated[int, Field(ge=0)]  # in the scan
    empty: bool = False  # shows nothing, so no network saw it
    probabilities: dict[str, Probability] = Field(default_factory=dict)  # calibrated, by classifier
    oddness: dict[str, float] = Field(default_factory=dict)  # distance from the training pictures, by classifier
    mask_pixels: int | None = None  # px; None where the scan was not segmented


class SeriesReport(Value):
    """How one classifier's slices, and the masks where there are, made the verdict on a series.

    The rule's numbers stand with the classifier under `models`; what they mean, in `definition`.
    """

    model: str  # the classifier
    rule: str  # name and version
    definition: str = SERIES_DEFINITION
    inputs: str  # what was weighed
    first_slice: Annotated[int, Field(ge=0)]  # of the run that decided
    run_slices: Annotated[int, Field(ge=1)]
    evidence: float  # z, log-odds
    probability: Probability
    threshold: Probability

    @classmethod
    def of(cls, verdict: ClassifierVerdict, evidence: Evidence) -> "SeriesReport":
        """A classifier's vote, told."""
        return cls(
            model=verdict.model,
            rule=evidence.rule,
            inputs=evidence.inputs,
            first_slice=evidence.first,
            run_slices=evidence.length,
            evidence=evidence.evidence,
            probability=verdict.probability,
            threshold=verdict.threshold,
        )


class OddnessReport(Value):
    """How unlike its training pictures a classifier finds the scan."""

    model: str
    oddness: Annotated[float, Field(ge=0)]  # distance; of a volume that of its middle slice by distance
    threshold: Annotated[float, Field(gt=0)]  # from here on the scan needs review


class GeometryReport(Value):
    """The grid of the scan's planes, and where it lies."""

    slices: int
    rows: int  # px
    columns: int  # px
    pixel_mm: tuple[float, float] | None = None  # between centres of rows, of columns
    slice_mm: float | None = None  # between centres of slices
    slicing: str | None = None  # axial, coronal or sagittal, where known
    array_shape: tuple[int, int, int] | None = None  # of the file's own array, which a mask's NIfTI file has too
    affine: tuple[tuple[float, float, float, float], ...] | None = None  # voxel of that array -> RAS+ mm

    @classmethod
    def of(cls, geometry: Geometry) -> "GeometryReport":
        """A scan's geometry, rounded."""
        slices, rows, columns = geometry.shape
        space = geometry.space
        affine = None if space is None else space.affine
        pixel_mm = geometry.pixel_mm
        return cls(
            slices=slices,
            rows=rows,
            columns=columns,
            pixel_mm=None if pixel_mm is None else (round(pixel_mm[0], MM_DIGITS), round(pixel_mm[1], MM_DIGITS)),
            slice_mm=None if geometry.slice_mm is None else round(geometry.slice_mm, MM_DIGITS),
            slicing=geometry.slicing,
            array_shape=None if space is None else space.shape,
            affine=None if affine is None else tuple(_rounded(row) for row in affine),
        )


class Preprocessing(Value):
    """How bytes became what the networks saw; the profile of each network stands with it."""

    grey_percentiles: tuple[float, float] = PERCENTILES  # of values deeper than 8 bits, over the whole scan
    letterbox: str = "physical aspect kept, centred on black; areas averaged where it shrinks, linear where it grows"
    air_below: int = AIR  # of 255
    empty_share: float = EMPTY_SHARE  # of pixels above `air_below`, under which a slice counts as empty


class MaskReport(Value):
    """What the mask file holds."""

    file: str  # name of the artifact
    definition: str = MASK_DEFINITION
    channels: tuple[str, ...]  # what each of the network's channels means
    threshold: Probability
    least_pixels: Annotated[int, Field(ge=0)]  # smaller regions were taken away; 0: none


class Report(Record):
    """One scan's result in full: artifact `report.json`. Version 2 says how a series was judged."""

    SCHEMA: ClassVar[str] = "report"
    VERSION: ClassVar[int] = 2

    scan: str
    kind: ScanKind
    path: str  # as the user knows it
    files: Annotated[int, Field(ge=1)]
    study_uid: str | None = None
    series_uid: str | None = None
    finding: Finding
    reasons: tuple[Said, ...] = ()  # why a person should look
    warnings: tuple[Said, ...] = ()
    note: str | None = None  # what must not be overlooked
    extents: tuple[Extent, ...] = ()
    shown_slice: Annotated[int, Field(ge=0)]  # the one that overlay.png draws
    mask: MaskReport | None = None
    geometry: GeometryReport
    series: tuple[SeriesReport, ...] = ()  # one for each classifier, where a series was judged
    oddness: tuple[OddnessReport, ...] = ()  # one for each classifier that has a check for it
    slices: tuple[SliceReport, ...]
    models: tuple[ModelPin, ...]
    preprocessing: Preprocessing = Preprocessing()
    engine: str
    precision: str
    processor: str
    software: str
    disclaimer: str = DISCLAIMER

    def pretty(self) -> bytes:
        """The bytes of report.json: the schema's name first, then the fields as they stand here, indented."""
        name = json.dumps(f"neurobatch.{self.SCHEMA}/{self.VERSION}")
        return f'{{\n  "schema": {name},{self.model_dump_json(indent=2)[1:]}\n'.encode()


def report(
    scan: PlannedScan,
    geometry: Geometry,
    finding: Finding,
    warnings: tuple[Code, ...],
    **details: Any,
) -> Report:
    """Put a report together; `details` are the fields of `Report` that other rooms know."""
    return Report(
        scan=scan.id,
        kind=scan.kind,
        path=scan.path,
        files=len(scan.files),
        study_uid=scan.study_uid,
        series_uid=scan.series_uid,
        finding=finding,
        reasons=Said.of(finding.reasons),
        warnings=Said.of(warnings),
        note=PHANTOM_NOTE if Code.PHANTOM in warnings else None,
        geometry=GeometryReport.of(geometry),
        **details,
    )


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of report.json, as published in `docs/schemas/report-2.json`."""
    body = Report.model_json_schema(mode="serialization")
    name = f"neurobatch.{Report.SCHEMA}/{Report.VERSION}"
    body["properties"]["schema"] = {"const": name, "title": "Schema", "type": "string"}
    body["required"] = sorted({*body["required"], "schema"})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, **body}


def _rounded(row: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    a, b, c, d = (round(value, MM_DIGITS) + 0.0 for value in row)  # + 0.0: no minus before a zero
    return a, b, c, d


def published() -> bytes:
    """The bytes of `docs/schemas/report-2.json`."""
    return json.dumps(schema(), sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n"
