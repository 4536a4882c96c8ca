"""A finished batch against a site's own labels: the same figures as on sets, from the results as they were given."""

import gzip
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from models import lesions
from models.data import Item, read_mask
from models.evaluate import Evaluation
from models.figures import Figure, classifier_figures, slice_figures
from models.judging import Outlined, Outlining, Part, Verdicts
from models.labels import TABLE, Label
from models.lesions import Lesions
from models.matching import Matched, match
from models.worst import EACH, Case
from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.gateway import Gateway
from neurobatch.records import BatchState, Finding, Result
from neurobatch.records import Label as Verdict

OPEN = (BatchState.ACCEPTED, BatchState.RUNNING)
NIFTI = (".nii", ".nii.gz")

Mask = NDArray[np.bool_]
Judged = tuple[Label, Result, Finding]


def compare(gateway: Gateway, batch: str, labels: Sequence[Label], *, cases: bool = False) -> Evaluation:
    """Figures of a batch's findings, and of its masks where labels have outlines.

    Args:
        gateway: what has the batch: a server, or this machine's store.
        batch: its id.
        labels: what the site says of its scans.
        cases: whether the worst cases are wanted too.

    Raises:
        Refused: `not_finished`, the batch still runs; `bad_table`, rows contradict each other; `no_set`, no label
            belongs to a scan that was judged; `unreadable`, an outline cannot be used.
    """
    if gateway.status(batch).state in OPEN:
        raise Refused(Code.NOT_FINISHED)
    matched = match(labels, gateway.results(batch))
    judged = [(label, scan, scan.finding) for label, scan in matched.pairs if scan.finding is not None]
    if not judged:
        raise Refused(Code.NO_SET, "No label belongs to a scan of this batch that was judged.")
    parts: Figure = {"findings": classifier_figures(_verdicts(judged))}
    outlined = [one for one in judged if one[0].mask is not None]
    if outlined:
        parts["masks"] = slice_figures(_outlining(gateway, batch, outlined))
    return Evaluation(
        figures={**_head(batch, judged), "labels": _told(matched, judged), "parts": parts},
        cases=tuple(_cases(gateway, batch, judged)) if cases else (),
    )


def _head(batch: str, judged: Sequence[Judged]) -> Figure:
    """What judged the scans."""
    scans = [scan for _, scan, _ in judged]
    models = {f"{model.name} {model.sha256[:12]} ({model.profile})" for scan in scans for model in scan.models}
    site = any(Code.SITE_THRESHOLD in scan.warnings for scan in scans)
    return {
        "batch": batch,
        "kind": "batch",
        "networks": sorted(models),
        "engines": sorted({f"{scan.engine} {scan.precision} {scan.processor}" for scan in scans}),
        "thresholds": sorted({finding.threshold for _, _, finding in judged}),
        "threshold_of": "the site" if site else "the cards or the batch",
    }


def _told(matched: Matched, judged: Sequence[Judged]) -> Figure:
    """How labels and scans were matched."""
    return {
        "labels": len(matched.pairs) + len(matched.unmatched) + len(matched.ambiguous),
        "compared": len(judged),
        "without_verdict": len(matched.pairs) - len(judged),
        "labels_without_scan": [f"row {label.row}: {label.path}" for label in matched.unmatched],
        "labels_of_several_scans": [f"row {label.row}: {label.path}" for label in matched.ambiguous],
        "scans_without_label": [f"{scan.scan}: {scan.path}" for scan in matched.unlabelled],
        "most_wrong": [
            f"{scan.scan}: {scan.path}: {told}, probability {finding.probability:.3f}"
            for (_, scan, finding), told in _most_wrong(judged)
        ],
    }


def _verdicts(judged: Sequence[Judged]) -> Verdicts:
    chance = np.array([finding.probability for _, _, finding in judged])
    return Verdicts(
        truth=np.array([label.tumour for label, _, _ in judged], bool),
        score=chance,
        chance=chance,
        positive=np.array([finding.probability >= finding.threshold for _, _, finding in judged], bool),
        review=np.array([finding.label is Verdict.NEEDS_REVIEW for _, _, finding in judged], bool),
        groups=tuple(_group(label, scan) for label, scan, _ in judged),
        kinds=tuple(scan.kind.value for _, scan, _ in judged),
    )


def _group(label: Label, scan: Result) -> str:
    """The patient where the site names one, else the study, else the scan alone."""
    return label.group or scan.study_uid or scan.scan


def _outlining(gateway: Gateway, batch: str, outlined: Sequence[Judged]) -> Outlining:
    rows: list[Outlined] = []
    regions: list[Lesions] = []
    for label, scan, _ in outlined:
        drawn = _outline(label)
        ours = _ours(gateway, batch, scan, drawn.shape)
        if drawn.shape != ours.shape:
            raise Refused(Code.UNREADABLE, f"{TABLE}, row {label.row}: the mask is not on the scan's own grid.")
        group = _group(label, scan)
        rows.append(_row(label, scan, group, drawn, ours))
        regions.append(lesions.compared(group, drawn, ours))
    part = Part(name="masks", items=tuple(row.item for row in rows), view="colour")
    return Outlining(part=part, rows=tuple(rows), lesions=tuple(regions))


def _row(label: Label, scan: Result, group: str, drawn: Mask, ours: Mask) -> Outlined:
    found = int(ours.sum())
    item = Item(
        source="masks", file=Path(scan.scan), mask=label.mask, mask2=None, definition=None, tumour=bool(drawn.any()),
        group=group, split="", plane="", doubtful=False, kind=scan.kind.value, row=label.row,
    )  # fmt: skip
    return Outlined(item=item, drawn=int(drawn.sum()), common=int((drawn & ours).sum()), found=found, largest=found)


def _outline(label: Label) -> Mask:
    """A site's outline as `(n, h, w)`."""
    assert label.mask is not None
    try:
        if label.mask.name.lower().endswith(NIFTI):
            return _volume(label.mask.read_bytes())
        return read_mask(label.mask)[None]
    except (OSError, Refused):
        raise Refused(Code.UNREADABLE, f"{TABLE}, row {label.row}: the mask cannot be decoded.") from None


def _ours(gateway: Gateway, batch: str, scan: Result, shape: tuple[int, ...]) -> Mask:
    """The batch's own mask of a scan; empty where the scan was not segmented, since then nothing was found in it."""
    artifact = next((each for each in scan.artifacts if each.name.startswith("mask.")), None)
    if artifact is None:
        return np.zeros(shape, bool)
    data = b"".join(gateway.artifact(batch, scan, artifact))
    return _volume(data) if artifact.name.endswith(NIFTI) else _picture(data)[None] > 127


def _volume(data: bytes) -> Mask:
    """A NIfTI mask as `(n, h, w)`: planes along its last axis. Raises `Refused(unreadable)`."""
    try:
        plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        kind: Any = (
            nibabel.Nifti2Image if plain[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") else nibabel.Nifti1Image
        )
        array = np.asanyarray(kind.from_bytes(plain).dataobj)
    except (OSError, EOFError, zlib.error, ValueError, ImageFileError):
        raise Refused(Code.UNREADABLE, "a mask cannot be decoded") from None
    return np.moveaxis(array.reshape(array.shape[:3] + (1,) * (3 - array.ndim)) > 0, 2, 0)


def _picture(data: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise Refused(Code.UNREADABLE, "a picture of the batch's results cannot be decoded")
    return np.asarray(picture, np.uint8)


def _most_wrong(judged: Sequence[Judged]) -> list[tuple[Judged, str]]:
    """The missed farthest below their threshold and the false alarms farthest above it."""

    def chosen(
        told: str, wrong: Callable[[Judged], bool], distance: Callable[[Judged], float]
    ) -> list[tuple[Judged, str]]:
        return [(one, told) for one in sorted(filter(wrong, judged), key=distance)[:EACH]]

    return [
        *chosen("missed", lambda one: one[0].tumour and not _positive(one[2]), lambda one: one[2].probability),
        *chosen("false alarm", lambda one: not one[0].tumour and _positive(one[2]), lambda one: -one[2].probability),
    ]


def _positive(finding: Finding) -> bool:
    return finding.probability >= finding.threshold


def _cases(gateway: Gateway, batch: str, judged: Sequence[Judged]) -> list[Case]:
    """The overlays of the most wrong, where the batch drew any: what it calls free of tumour it does not draw."""
    cases = []
    for (_, scan, finding), told in _most_wrong(judged):
        artifact = next((each for each in scan.artifacts if each.name == "overlay.png"), None)
        if artifact is not None:
            data = np.frombuffer(b"".join(gateway.artifact(batch, scan, artifact)), np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
            caption = f"scan {int(scan.scan.split('-')[0])}: {told}, probability {finding.probability:.3f}"
            cases.append(Case(part="findings", caption=caption, picture=np.asarray(picture, np.uint8)))
    return cases
