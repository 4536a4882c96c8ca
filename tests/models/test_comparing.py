"""A finished batch against a site's own labels, over both gateways."""

import gzip
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.local.gateway import LocalGateway
from models.comparing import compare
from models.labels import Label, plain_path, read_labels
from models.matching import match
from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.gateway import Gateway
from neurobatch.records import Finding, Result, ScanKind, ScanState
from neurobatch.records import Label as Verdict
from neurobatch.settings import Settings
from storage.ledger import Content
from storage.memory import Memory
from storage.names import BatchKey
from tests.api.wired import Bench, planned
from tests.models.labelled import spot, write_picture, write_table

SIDE = 96
NIFTI: Any = nibabel.Nifti1Image  # which has no types


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Memory(), Settings(home=tmp_path / "home"))


def png(picture: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1])


def batch(bench: Bench, *, end: bool = True) -> BatchKey:
    """Scans a/1 … a/4 and b/1: found, missed (to be reviewed), false alarm, passed, and one that failed."""
    key = bench.submitted()
    paths = ("a/1.png", "a/2.png", "a/3.png", "a/4.png", "b/1.png")
    page = bench.put_scans(key, 0, [[planned(number, path) for number, path in enumerate(paths)]])
    bench.end_plan(key, 1)
    said = ((0.9, Verdict.TUMOUR), (0.3, Verdict.NEEDS_REVIEW), (0.8, Verdict.TUMOUR), (0.1, Verdict.NO_TUMOUR))
    results: list[Result] = []
    for scan, (probability, label) in zip(page.shards[0].scans, said, strict=False):
        files = {"report.json": Content("application/json", b"{}")}
        if label is Verdict.TUMOUR:
            files["mask.png"] = Content("image/png", png(spot(40, 40, 8)))
            files["overlay.png"] = Content("image/png", png(np.zeros((SIDE, SIDE, 3), np.uint8)))
        results.append(
            Result(
                scan=scan.id,
                state=ScanState.SUCCEEDED,
                kind=scan.kind,
                source=0,
                path=scan.path,
                files=1,
                slices=1,
                finding=Finding(label=label, probability=probability, threshold=0.5),
                warnings=(Code.SITE_THRESHOLD,),
                artifacts=bench.ledger.put_artifacts(key, scan.id, files),
            )
        )
    last = page.shards[0].scans[4]
    results.append(
        Result(
            scan=last.id, state=ScanState.FAILED, code=Code.DAMAGED, kind=last.kind, source=0, path=last.path, files=1
        )
    )
    bench.ledger.commit(key, page.shards[0].number, results)
    if end:
        bench.finish(key)
    return key


def labels(folder: Path, *rows: tuple[str, object, str]) -> list[Label]:
    file = folder / "labels.csv"
    write_table(file, [dict(zip(("path", "label", "mask"), row, strict=True)) for row in rows])
    return read_labels(file)


def test_a_batch_is_counted_by_hand(gateway: Gateway, bench: Bench, tmp_path: Path) -> None:
    key = batch(bench)
    said = labels(
        tmp_path,
        ("a/1.png", "tumour", ""),
        ("a\\2.png", "yes", ""),
        ("3.png", 0, ""),
        ("/archive/2024/a/4.png", "no_tumour", ""),
        ("b/1.png", 1, ""),
        ("c/9.png", 1, ""),
        ("1.png", 1, ""),
    )
    found = compare(gateway, key.batch, said, cases=True)
    figures = found.figures["parts"]["findings"]
    assert figures["confusion"] == {"tp": 1, "fn": 1, "fp": 1, "tn": 1}
    assert [figures[name] for name in ("accuracy", "recall", "specificity", "precision", "auc")] == [0.5] * 4 + [0.75]
    assert figures["needs_review_pictures"] == 1
    assert figures["accuracy_95"] is not None
    assert found.figures["threshold_of"] == "the site"
    assert found.figures["labels"] == {
        "labels": 7,
        "compared": 4,
        "without_verdict": 1,
        "labels_without_scan": ["row 7: c/9.png"],
        "labels_of_several_scans": ["row 8: 1.png"],
        "scans_without_label": [],
        "most_wrong": [
            f"{planned(1, 'a/2.png').id}: a/2.png: missed, probability 0.300",
            f"{planned(2, 'a/3.png').id}: a/3.png: false alarm, probability 0.800",
        ],
    }
    assert [case.caption for case in found.cases] == ["scan 2: false alarm, probability 0.800"]


def test_outlines_are_compared_with_what_the_batch_drew(gateway: Gateway, bench: Bench, tmp_path: Path) -> None:
    key = batch(bench)
    write_picture(tmp_path / "same.png", spot(40, 40, 8))
    said = labels(tmp_path, ("a/1.png", "tumour", "same.png"), ("a/2.png", "tumour", "same.png"))
    figures = compare(gateway, key.batch, said).figures["parts"]["masks"]
    assert figures["slices"] == 2
    assert figures["dice_mean"] == 0.5  # the second was not segmented: nothing was found in it
    assert (figures["lesions"], figures["lesion_sensitivity"]) == (2, 0.5)


def test_an_outline_on_another_grid_is_told_with_its_row(bench: Bench, tmp_path: Path) -> None:
    key = batch(bench)
    write_picture(tmp_path / "small.png", spot(4, 4, 3, side=10))
    with pytest.raises(Refused, match="row 2: the mask is not on the scan's own grid"):
        compare(LocalGateway(bench.ledger, "local"), key.batch, labels(tmp_path, ("a/1.png", 1, "small.png")))


def test_a_volume_s_outline_is_compared_voxel_by_voxel(bench: Bench, tmp_path: Path) -> None:
    ours, theirs = np.zeros((20, 20, 6), np.uint8), np.zeros((20, 20, 6), np.float32)
    ours[4:10, 4:10, 1:4], theirs[4:10, 4:10, 2:5] = 1, 1
    key = bench.submitted()
    scan = planned(0, "head.nii").model_copy(update={"kind": ScanKind.NIFTI})
    page = bench.put_scans(key, 0, [[scan]])
    bench.end_plan(key, 1)
    mask = gzip.compress(NIFTI(ours, np.eye(4)).to_bytes())
    result = Result(
        scan=scan.id, state=ScanState.SUCCEEDED, kind=scan.kind, source=0, path=scan.path, files=1, slices=6,
        finding=Finding(label=Verdict.TUMOUR, probability=0.9, threshold=0.5),
        artifacts=bench.ledger.put_artifacts(key, scan.id, {"mask.nii.gz": Content("application/gzip", mask)}),
    )  # fmt: skip
    bench.ledger.commit(key, page.shards[0].number, [result])
    bench.finish(key)
    nibabel.save(NIFTI(theirs, np.eye(4)), tmp_path / "theirs.nii.gz")
    said = labels(tmp_path, ("head.nii", "tumour", "theirs.nii.gz"))
    figures = compare(LocalGateway(bench.ledger, "local"), key.batch, said).figures["parts"]["masks"]
    assert figures["dice_mean"] == pytest.approx(2 / 3, abs=1e-4)
    assert (figures["lesions"], figures["false_lesions"]) == (1, 0)


def test_only_a_finished_batch_is_compared(gateway: Gateway, bench: Bench, tmp_path: Path) -> None:
    key = batch(bench, end=False)
    with pytest.raises(Refused) as caught:
        compare(gateway, key.batch, labels(tmp_path, ("a/1.png", 1, "")))
    assert caught.value.code == Code.NOT_FINISHED


def test_labels_that_belong_to_nothing_are_refused(bench: Bench, tmp_path: Path) -> None:
    key = batch(bench)
    with pytest.raises(Refused) as caught:
        compare(LocalGateway(bench.ledger, "local"), key.batch, labels(tmp_path, ("z.png", 1, ""), ("b/1.png", 1, "")))
    assert caught.value.code == Code.NO_SET


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (("", "yes", ""), "row 2: there is nothing under path"),
        (("a.png", "", ""), "row 2: there is nothing under label"),
        (("a.png", "2", ""), "row 2: label or tumour is neither yes nor no"),
        (("a.png", "yes", "gone.png"), "row 2: the mask that it names is not there"),
    ],
)
def test_a_label_that_cannot_be_used_is_told_with_its_row(
    tmp_path: Path, cells: tuple[str, str, str], told: str
) -> None:
    with pytest.raises(Refused, match=told):
        labels(tmp_path, cells)


def scan(ordinal: int, path: str, series: str | None = None) -> Result:
    return Result(
        scan=planned(ordinal, path).id, state=ScanState.CANCELLED, kind=ScanKind.DICOM, source=0, path=path, files=1,
        series_uid=series,
    )  # fmt: skip


def label(path: str, *, tumour: bool = True) -> Label:
    return Label(row=2, path=plain_path(path), tumour=tumour, mask=None, group="")


def test_a_scan_is_found_by_path_end_id_and_series() -> None:
    scans = [scan(0, "x/a/1.png"), scan(1, "x/b/1.png"), scan(2, "x/b/=2.png", "1.2.3"), scan(3, "1.png")]
    for path, wanted in (
        ("x/a/1.png", 0),
        ("./b/1.png", 1),
        ("1.2.3", 2),
        (scans[1].scan, 1),
        ("1.png", 3),  # the whole path goes before ends of others
        ("x/b/'=2.png", None),
        ("'=2.png", 2),  # as results.csv writes what a spreadsheet would run
        ("D:\\scans\\x\\a\\1.png", 0),
    ):
        found = match([label(path)], scans)
        assert [result.scan for _, result in found.pairs] == ([] if wanted is None else [scans[wanted].scan]), path


def test_labels_that_contradict_each_other_are_refused() -> None:
    scans = [scan(0, "x/1.png")]
    assert len(match([label("1.png"), label("x/1.png")], scans).pairs) == 1
    with pytest.raises(Refused, match="differ on the same scan"):
        match([label("1.png"), label("x/1.png", tumour=False)], scans)
