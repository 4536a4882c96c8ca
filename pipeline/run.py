"""The order of the pipeline, once. Read this file first.

    bytes      `decode`    the files of a scan become planes with their geometry and warnings planes `look` slices of
    air are told; the rest is worth a network's time squares `squares` each slice is prepared as a network was trained:
    its profile, its size logits (network) a classifier says of each square how much it looks like a tumour, and how odd
    it is verdict `judge` calibrated, a series by its rule, against threshold and band: the finding squares `squares`
    where the finding or the options want it, slices are prepared for the segmenter maps (network) the segmenter says of
    each pixel how much it belongs to a tumour verdict `weigh` masks have their say: with the classifiers in a series,
    beside them in a picture result `conclude` masks on the scan's own grid, extents, overlay, report: the files, and
    the line of the result

Everything here is pure: no store, no queue, no network, no clock. What a result depends on comes in as arguments.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, ScanFailed
from neurobatch.records import (
    Extent,
    Finding,
    ModelPin,
    ModelUse,
    Options,
    PlannedScan,
    Result,
    ScanKind,
    ScanState,
)
from pipeline import drawing, finding, masks, oddness
from pipeline.emptiness import shown_slices
from pipeline.finding import Probabilities, Vote
from pipeline.limits import Limits
from pipeline.masks import MASK_THRESHOLD, Masks
from pipeline.oddness import Oddness
from pipeline.prepare.packed import pack
from pipeline.prepare.profiles import prepare
from pipeline.read.dicom import read_series
from pipeline.read.nifti import read_nifti
from pipeline.read.pictures import read_picture
from pipeline.report import MaskReport, OddnessReport, SeriesReport, SliceReport, report
from pipeline.volumes import Planes, Volume, ordered

MEDIA_TYPES = {
    "mask.png": "image/png",
    "mask.nii.gz": "application/gzip",
    "overlay.png": "image/png",
    "report.json": "application/json",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All that a result depends on besides the scan's bytes."""

    pins: tuple[ModelPin, ...]  # the networks of the batch
    options: Options
    engine: str
    precision: str
    processor: str  # class of processor
    software: str  # version of neurobatch
    limits: Limits = field(default_factory=Limits)
    least_mask_pixels: int = 0  # smaller regions of a mask are taken away; 0 keeps all

    @property
    def classifiers(self) -> tuple[ModelPin, ...]:
        """The networks that judge."""
        return tuple(pin for pin in self.pins if pin.kind == "classifier")

    @property
    def segmenter(self) -> ModelPin | None:
        """The network that draws masks, where the batch has one."""
        return next((pin for pin in self.pins if pin.kind == "segmenter"), None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What the networks said of a scan."""

    finding: Finding
    votes: tuple[Vote, ...]  # by classifier; none where no slice shows anything
    probabilities: Mapping[str, Probabilities]  # by classifier, `(n,)`, 0 for empty slices
    oddness: Mapping[str, Oddness]  # by classifier that has a check for it, `(len(shown),)`
    shown: tuple[int, ...]  # slices that show something
    wants_mask: bool


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """A scan's result, but for where it came from."""

    finding: Finding
    extents: tuple[Extent, ...]
    warnings: tuple[Code, ...]
    slices: int
    files: Mapping[str, bytes]  # artifacts by name


def decode(kind: ScanKind, files: Sequence[bytes], limits: Limits) -> Volume:
    """Read a scan's files.

    Raises:
        ScanFailed: with the code that says why.
    """
    if kind is ScanKind.DICOM:
        return read_series(files, limits)
    if len(files) != 1:
        raise ScanFailed(Code.SERIES_INCONSISTENT, f"{len(files)} files for one {kind}")
    return read_nifti(files[0], limits) if kind is ScanKind.NIFTI else read_picture(files[0], limits)


def look(volume: Volume) -> tuple[int, ...]:
    """Indexes of the slices that show something."""
    return tuple(int(index) for index in shown_slices(volume.planes))


def squares(volume: Volume, shown: Iterable[int], pin: ModelPin) -> Iterator[tuple[int, Planes]]:
    """Each shown slice with what the network `pin` takes of it: `(size, size, 3)` uint8."""
    for index in shown:
        yield index, prepare(volume.planes[index], pin.profile, pin.size, volume.geometry.pixel_mm)


def packed(volume: Volume, index: int, pin: ModelPin) -> NDArray[np.uint8]:
    """A slice that is prepared where the network `pin` runs: `(n,)` uint8, see `pipeline.prepare.packed`."""
    return pack(volume.planes[index], pin.size, volume.geometry.pixel_mm)


def judge(volume: Volume, shown: Sequence[int], said: Mapping[str, NDArray[np.float32]], setting: Setting) -> Judged:
    """From what the classifiers say to the finding.

    Args:
        volume: the scan.
        shown: slices that the networks saw, from `look`.
        said: by classifier, logits `(len(shown),)` float32 in the order of `shown`; where the pin has a check for it
            `(len(shown), 2)`, with how odd the slices are.
        setting: pins with temperatures, thresholds, bands and rules for series.

    Raises:
        Broken: `internal`, what a classifier should have said is missing, not finite or too little.
    """
    pins = setting.classifiers
    if not len(shown):
        nothing = {pin.name: np.zeros(len(volume.planes)) for pin in pins}
        return Judged(
            finding=finding.blank(pins), votes=(), probabilities=nothing, oddness={}, shown=(), wants_mask=False
        )
    numbers = {pin.name: _checked(said.get(pin.name), pin, len(shown)) for pin in pins}
    probabilities: dict[str, Probabilities] = {}
    for pin in pins:
        each = np.zeros(len(volume.planes))
        each[list(shown)] = finding.calibrated(numbers[pin.name][:, 0], pin.temperature)
        probabilities[pin.name] = each
    votes = _votes(volume, probabilities, None, setting)
    odd = {pin.name: oddness.written(numbers[pin.name][:, 1]) for pin in pins if pin.oddness is not None}
    found = oddness.weighed(finding.verdict(votes), odd, pins)
    return Judged(
        finding=found,
        votes=votes,
        probabilities=probabilities,
        oddness=odd,
        shown=tuple(shown),
        wants_mask=setting.segmenter is not None and finding.wants_mask(found, votes, setting.options.segment),
    )


def weigh(judged: Judged, drawn: Masks, volume: Volume, setting: Setting) -> Judged:
    """Let the masks have their say in the finding.

    Args:
        judged: as `judge` found.
        drawn: the masks on the scan's own grid.
        volume: the scan.
        setting: as for `judge`.
    """
    shares = masks.shares(drawn)
    largest = float(shares.max())
    if len(volume.planes) == 1 or not judged.votes:
        return replace(judged, finding=finding.picture_with_mask(judged.finding, largest))
    votes = _votes(volume, judged.probabilities, shares, setting)
    found = finding.series_with_mask(judged.finding, finding.verdict(votes), largest)
    return replace(judged, votes=votes, finding=oddness.weighed(found, judged.oddness, setting.classifiers))


def conclude(
    scan: PlannedScan,
    volume: Volume,
    judged: Judged,
    maps: Iterable[tuple[int, NDArray[np.float32]]] | None,
    setting: Setting,
) -> Conclusion:
    """Make the files of a result.

    Args:
        scan: as planned.
        volume: as decoded.
        judged: as `judge` found.
        maps: slice's index and the segmenter's map `(size, size, c)` float32, for each slice that was segmented; None
            where the scan was not.
        setting: as for `judge`.

    Returns:
        Finding, extents, warnings, and the artifacts: report.json always; a mask where the scan was segmented;
        overlay.png where it was, or where the finding is not "no tumour".
    """
    drawn = None
    if maps is not None and setting.segmenter is not None:
        drawn = masks.restored(
            maps, volume.geometry, setting.segmenter.channels, least_pixels=setting.least_mask_pixels
        )
        judged = weigh(judged, drawn, volume, setting)
    found = judged.finding
    extents = () if drawn is None else masks.extents(drawn, volume.geometry)
    warnings = ordered({*volume.warnings, *_departures(setting.pins)})
    shown = drawing.shown_slice(None if drawn is None else drawn.joined, _likeliest(judged))
    files = _pictures(volume, drawn, shown, always=found.label != "no_tumour")
    body = report(
        scan, volume.geometry, found, warnings,
        extents=extents,
        shown_slice=shown,
        mask=_mask_report(files, drawn, setting),
        series=_series(judged),
        oddness=_oddness(judged, setting),
        slices=_slices(volume, judged, drawn),
        models=setting.pins,
        engine=setting.engine,
        precision=setting.precision,
        processor=setting.processor,
        software=setting.software,
    )  # fmt: skip
    files["report.json"] = body.pretty()
    return Conclusion(finding=found, extents=extents, warnings=warnings, slices=len(volume.planes), files=files)


def succeeded(scan: PlannedScan, conclusion: Conclusion, setting: Setting) -> Result:
    """The result's line, but for the artifacts: whoever puts the files names them."""
    used = [pin for pin in setting.pins if pin.kind == "classifier" or conclusion.extents]
    return Result(
        **_origin(scan),
        state=ScanState.SUCCEEDED,
        slices=conclusion.slices,
        finding=conclusion.finding,
        extents=conclusion.extents,
        warnings=conclusion.warnings,
        models=tuple(ModelUse(name=pin.name, sha256=pin.sha256, profile=pin.profile) for pin in used),
        engine=setting.engine,
        precision=setting.precision,
        processor=setting.processor,
    )


def failed(scan: PlannedScan, error: NeurobatchError) -> Result:
    """The line of a scan that could not be judged."""
    return Result(**_origin(scan), state=ScanState.FAILED, code=error.code)


def _origin(scan: PlannedScan) -> dict[str, Any]:
    return {
        "scan": scan.id,
        "kind": scan.kind,
        "source": scan.files[0].source,
        "path": scan.path,
        "files": len(scan.files),
        "study_uid": scan.study_uid,
        "series_uid": scan.series_uid,
    }


def _votes(
    volume: Volume, probabilities: Mapping[str, Probabilities], shares: Probabilities | None, setting: Setting
) -> tuple[Vote, ...]:
    pins = setting.classifiers
    if len(volume.planes) == 1:
        return finding.of_picture(probabilities, pins)
    forced = setting.options.threshold is not None or any(pin.threshold_of == "site" for pin in pins)
    return finding.of_series(probabilities, pins, volume.geometry.slice_mm, shares=shares, forced=forced)


def _departures(pins: Iterable[ModelPin]) -> Iterator[Code]:
    """Where a result was not made as the networks' cards say."""
    for pin in pins:
        if pin.forced:
            yield Code.FORCED_PROFILE
        if pin.threshold_of == "site":
            yield Code.SITE_THRESHOLD


def _series(judged: Judged) -> tuple[SeriesReport, ...]:
    return tuple(SeriesReport.of(vote.verdict, vote.evidence) for vote in judged.votes if vote.evidence is not None)


def _oddness(judged: Judged, setting: Setting) -> tuple[OddnessReport, ...]:
    return tuple(
        OddnessReport(
            model=pin.name, oddness=oddness.of_scan(judged.oddness[pin.name]), threshold=pin.oddness.threshold
        )
        for pin in setting.classifiers
        if pin.oddness is not None and pin.name in judged.oddness
    )


def _checked(said: NDArray[np.float32] | None, pin: ModelPin, slices: int) -> NDArray[np.float32]:
    """What a classifier said, `(slices, 1 or 2)`, as it should be."""
    numbers = np.zeros((0, 1), np.float32) if said is None else np.asarray(said, np.float32)
    numbers = numbers[:, None] if numbers.ndim == 1 else numbers
    wanted = 1 if pin.oddness is None else 2
    if numbers.ndim != 2 or len(numbers) != slices or numbers.shape[1] < wanted or not np.isfinite(numbers).all():
        raise Broken(Code.INTERNAL, f"{pin.name} gave {numbers.shape} usable numbers for {slices} slices")
    return numbers


def _likeliest(judged: Judged) -> Probabilities:
    """Mean probability of each slice over the classifiers; where nothing was judged, the middle slice stands out."""
    each = np.mean(list(judged.probabilities.values()), axis=0)
    if not judged.shown:
        each[len(each) // 2] = 1.0
    return np.asarray(each)


def _pictures(volume: Volume, drawn: Masks | None, shown: int, *, always: bool) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    if drawn is not None:
        if volume.is_flat:
            files["mask.png"] = masks.as_picture(drawn.joined[0])
        else:
            files["mask.nii.gz"] = masks.as_nifti(drawn.joined, volume.geometry)
    if drawn is not None or always:
        mask = None if drawn is None else drawn.joined[shown]
        files["overlay.png"] = drawing.overlay(volume.planes[shown], mask)
    return files


def _mask_report(files: Mapping[str, bytes], drawn: Masks | None, setting: Setting) -> MaskReport | None:
    if drawn is None:
        return None
    name = next(name for name in files if name.startswith("mask."))
    return MaskReport(file=name, channels=drawn.names, threshold=MASK_THRESHOLD, least_pixels=setting.least_mask_pixels)


def _slices(volume: Volume, judged: Judged, drawn: Masks | None) -> tuple[SliceReport, ...]:
    joined = None if drawn is None else drawn.joined
    place = {index: at for at, index in enumerate(judged.shown)}
    return tuple(
        SliceReport(
            index=index,
            empty=index not in place,
            probabilities={name: float(each[index]) for name, each in sorted(judged.probabilities.items())},
            oddness={
                name: float(each[place[index]]) for name, each in sorted(judged.oddness.items()) if index in place
            },
            mask_pixels=None if joined is None else int(np.count_nonzero(joined[index])),
        )
        for index in range(len(volume.planes))
    )
