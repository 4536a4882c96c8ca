"""The whole way of a scan, with numbers in the place of networks: files to result, the same bytes each time."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from neurobatch.codes import DISCLAIMER, Code
from neurobatch.errors import Broken, ScanFailed
from neurobatch.records import (
    FileRef,
    Label,
    ModelPin,
    Options,
    PlannedScan,
    Result,
    ScanKind,
    ScanState,
    SeriesForm,
)
from pipeline.finding import UNFITTED
from pipeline.report import PHANTOM_NOTE, Report, published
from pipeline.run import Conclusion, Setting, conclude, decode, failed, judge, look, squares, succeeded
from pipeline.series import WITH_MASK, weighed
from pipeline.volumes import Volume
from tests.pipeline.inputs import dicom, dicom_series, nifti, picture

GOLDEN = Path(__file__).parent / "golden" / "report-2.json"
OLD = GOLDEN.with_name("report-1.json")
SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "report-2.json"
CHANNELS = ("FLAIR abnormality", "tumour core")


def pin(name: str, kind: Any = "classifier", **fields: Any) -> ModelPin:
    values: dict[str, Any] = {
        "name": name, "kind": kind, "sha256": "0" * 64, "profile": "plain", "size": 64, "threshold": 0.5,
        "review_low": 0.45, "review_high": 0.55, **fields,
    }  # fmt: skip
    return ModelPin.model_validate(values)


def setting(options: Options | None = None, **fields: Any) -> Setting:
    pins = (pin("mobilenet"), pin("unet", "segmenter", channels=CHANNELS))
    values: dict[str, Any] = {
        "pins": pins, "options": options or Options(), "engine": "openvino", "precision": "float32",
        "processor": "x86-64-v3", "software": "0.1.0", **fields,
    }  # fmt: skip
    return Setting(**values)


def planned(kind: ScanKind, files: int = 1) -> PlannedScan:
    ref = FileRef(source=2, path="scans/a", size=1, stamp="1")
    return PlannedScan(
        id="000000007-0123456789ab", kind=kind, path="scans/a", files=(ref,) * files, slices=1, study_uid="1.9"
    )


def head(rows: int = 48, columns: int = 56) -> Any:
    """A smooth blob, so that it is no air."""
    y, x = np.mgrid[:rows, :columns]
    return (200 * np.exp(-(((y - rows / 2) / rows) ** 2 + ((x - columns / 2) / columns) ** 2) * 8)).astype(np.uint8)


def concluded(
    kind: ScanKind, files: list[bytes], logit: float, with_map: bool = True, used: Setting | None = None
) -> tuple[Volume, Conclusion]:
    used = used or setting()
    volume = decode(kind, files, used.limits)
    shown = look(volume)
    inputs = list(squares(volume, shown, used.classifiers[0]))
    assert all(square.shape == (64, 64, 3) for _, square in inputs)
    judged = judge(volume, shown, {"mobilenet": np.full(len(shown), logit, np.float32)}, used)
    drawn = np.zeros((64, 64, 2), np.float32)
    drawn[24:40, 24:40, 0] = 0.9
    maps = [(index, drawn) for index in shown] if judged.wants_mask and with_map else None
    return volume, conclude(planned(kind, len(files)), volume, judged, maps, used)


def report_of(conclusion: Conclusion) -> Report:
    return Report.load(conclusion.files["report.json"])


def test_a_picture_with_a_tumour_gets_mask_overlay_and_report() -> None:
    volume, found = concluded(ScanKind.PICTURE, [picture(head())], 4.0)
    assert found.finding.label is Label.TUMOUR
    assert sorted(found.files) == ["mask.png", "overlay.png", "report.json"]
    mask = np.asarray(Image.open(io.BytesIO(found.files["mask.png"])))
    assert mask.shape == volume.planes.shape[1:]
    assert np.count_nonzero(mask) == found.extents[0].pixels == report_of(found).slices[0].mask_pixels


def test_a_picture_without_one_gets_a_report_only() -> None:
    _, found = concluded(ScanKind.PICTURE, [picture(head())], -4.0)
    assert found.finding.label is Label.NO_TUMOUR
    assert sorted(found.files) == ["report.json"]


def test_all_scans_are_segmented_where_that_is_asked_for() -> None:
    _, found = concluded(ScanKind.PICTURE, [picture(head())], -4.0, used=setting(Options(segment="all")))
    assert found.finding.label is Label.NEEDS_REVIEW
    assert found.finding.reasons == (Code.MASK_DISAGREES,)
    assert "mask.png" in found.files


def test_no_scan_is_segmented_where_that_is_asked_for() -> None:
    _, found = concluded(ScanKind.PICTURE, [picture(head())], 4.0, used=setting(Options(segment="none")))
    assert sorted(found.files) == ["overlay.png", "report.json"]


def test_a_series_gets_a_mask_in_its_own_geometry() -> None:
    planes = np.stack([head().astype(np.uint16) * 9 + n for n in range(6)])
    files = [dicom(number=9 - n, position=(0, 0, 3.0 * n), pixels=plane) for n, plane in enumerate(planes)]
    volume, found = concluded(ScanKind.DICOM, files, 4.0)
    mask: Any = nibabel.Nifti1Image.from_bytes(gzip.decompress(found.files["mask.nii.gz"]))
    assert mask.shape == (56, 48, 6)
    assert found.extents[0].volume_mm3 is not None
    assert report_of(found).geometry.slice_mm == pytest.approx(3.0)
    assert volume.geometry.slicing == "axial"


def test_one_dicom_image_is_flat_and_measured_in_square_millimetres() -> None:
    _, found = concluded(ScanKind.DICOM, [dicom(pixels=head().astype(np.uint16) * 9)], 4.0)
    assert "mask.png" in found.files
    assert found.extents[0].area_mm2 is not None
    assert found.extents[0].volume_mm3 is None


def test_a_nifti_volume_gets_a_nifti_mask_of_its_own_shape() -> None:
    array = np.repeat(head().astype(np.int16)[:, :, None] * 9, 5, axis=2)
    _, found = concluded(ScanKind.NIFTI, [nifti(array)], 4.0)
    mask: Any = nibabel.Nifti1Image.from_bytes(gzip.decompress(found.files["mask.nii.gz"]))
    assert mask.shape == array.shape


def test_a_scan_that_shows_nothing_is_for_a_person_and_no_network_sees_it() -> None:
    _, found = concluded(ScanKind.NIFTI, [nifti(np.zeros((20, 20, 20), np.int16))], 9.0)
    assert found.finding.label is Label.NEEDS_REVIEW
    assert found.finding.reasons == (Code.BLANK,)
    assert all(part.empty for part in report_of(found).slices)


def test_air_is_not_judged_and_counts_as_no_tumour() -> None:
    planes = np.repeat(head().astype(np.int16)[None] * 9, 6, axis=0)
    planes[0] = planes[5] = 0
    files = [dicom(number=n, position=(0, 0, 3.0 * n), pixels=plane) for n, plane in enumerate(planes)]
    volume, found = concluded(ScanKind.DICOM, files, 4.0)
    assert look(volume) == (1, 2, 3, 4)
    assert [part.probabilities["mobilenet"] > 0 for part in report_of(found).slices] == [
        False, True, True, True, True, False,
    ]  # fmt: skip


def test_a_phantom_is_named_as_one() -> None:
    pixels = head().astype(np.uint16) * 9
    _, found = concluded(ScanKind.DICOM, [dicom(pixels=pixels, SeriesDescription="Phantom head")], 4.0)
    assert report_of(found).note == PHANTOM_NOTE
    assert Code.PHANTOM in found.warnings


def test_a_forced_profile_is_told() -> None:
    used = setting(pins=(pin("mobilenet", forced=True), pin("unet", "segmenter", channels=CHANNELS)))
    _, found = concluded(ScanKind.PICTURE, [picture(head())], 4.0, used=used)
    assert found.warnings == (Code.FORCED_PROFILE,)


def test_logits_that_are_missing_or_no_numbers_are_a_fault_of_the_program() -> None:
    volume = decode(ScanKind.PICTURE, [picture(head())], setting().limits)
    for logits in ({}, {"mobilenet": np.array([np.nan], np.float32)}, {"mobilenet": np.zeros(2, np.float32)}):
        with pytest.raises(Broken):
            judge(volume, (0,), logits, setting())


def test_several_files_are_one_scan_only_as_a_series() -> None:
    with pytest.raises(ScanFailed):
        decode(ScanKind.PICTURE, [b"", b""], setting().limits)


def test_the_line_of_a_result_names_its_networks_and_its_source() -> None:
    _, found = concluded(ScanKind.PICTURE, [picture(head())], 4.0)
    line = succeeded(planned(ScanKind.PICTURE), found, setting())
    assert line.state is ScanState.SUCCEEDED
    assert sorted(found.files) == ["mask.png", "overlay.png", "report.json"]
    assert [use.name for use in line.models] == ["mobilenet", "unet"]
    assert line.source == 2
    assert Result.load(line.dump()) == line


def test_a_scan_that_was_not_segmented_names_no_segmenter() -> None:
    _, found = concluded(ScanKind.PICTURE, [picture(head())], -4.0)
    assert [use.name for use in succeeded(planned(ScanKind.PICTURE), found, setting()).models] == ["mobilenet"]


def test_a_failed_scan_is_a_line_with_its_code() -> None:
    line = failed(planned(ScanKind.DICOM, 3), ScanFailed(Code.TRUNCATED))
    assert (line.state, line.code, line.files) == (ScanState.FAILED, Code.TRUNCATED, 3)


def test_the_same_scan_gives_the_same_bytes() -> None:
    files = dicom_series(3)
    assert concluded(ScanKind.DICOM, files, 4.0)[1].files == concluded(ScanKind.DICOM, files[::-1], 4.0)[1].files


def golden() -> bytes:
    image = np.zeros((40, 40), np.uint8)
    image[8:32, 8:32] = 180
    return concluded(ScanKind.PICTURE, [picture(image)], 4.0)[1].files["report.json"]


def test_a_report_is_the_bytes_that_it_always_was() -> None:
    assert golden() == GOLDEN.read_bytes(), "a changed report needs a new version, or a golden file made anew"


@pytest.mark.parametrize("file", [OLD, GOLDEN], ids=["1", "2"])
def test_reports_of_every_version_can_be_read_and_say_what_neurobatch_is(file: Path) -> None:
    report = Report.load(file.read_bytes())
    assert report.disclaimer == DISCLAIMER
    assert report.mask is not None
    assert report.mask.channels == CHANNELS
    assert report.pretty() == GOLDEN.read_bytes()


def test_the_published_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_bytes() == published(), "write it anew with pipeline.report.published()"


def test_reports_keep_to_the_published_schema() -> None:
    validator = Draft202012Validator(json.loads(published()))
    Draft202012Validator.check_schema(validator.schema)
    for files in (dicom_series(3), [dicom(position=None, orientation=None)]):
        _, found = concluded(ScanKind.DICOM, files, 4.0)
        validator.validate(json.loads(found.files["report.json"]))


def test_the_published_schema_names_every_field_of_a_report() -> None:
    schema = json.loads(published())
    report = json.loads(GOLDEN.read_bytes())
    assert set(report) == set(schema["properties"])
    assert report["schema"] == schema["properties"]["schema"]["const"]


def test_a_series_has_a_threshold_of_its_own_unless_the_batch_forces_one() -> None:
    """A slice at 20 % is an alarm where slices are screened; a run of them is none where series are."""
    eager = pin("mobilenet", threshold=0.1, review_low=0.1, review_high=0.1)
    files = dicom_series(6)
    _, series = concluded(ScanKind.DICOM, files, -1.386, used=setting(pins=(eager,)))
    assert (series.finding.label, series.finding.threshold) == (Label.NO_TUMOUR, 0.5)
    _, flat = concluded(ScanKind.PICTURE, [picture(head())], -1.386, used=setting(pins=(eager,)))
    assert (flat.finding.label, flat.finding.threshold) == (Label.TUMOUR, 0.1)
    _, forced = concluded(ScanKind.DICOM, files, -1.386, used=setting(pins=(eager,), options=Options(threshold=0.1)))
    assert (forced.finding.label, forced.finding.threshold) == (Label.TUMOUR, 0.1)


def test_a_threshold_of_the_site_holds_for_series_too_and_is_told() -> None:
    own = pin("mobilenet", threshold=0.1, review_low=0.1, review_high=0.1, threshold_of="site")
    for kind, files in ((ScanKind.DICOM, dicom_series(6)), (ScanKind.PICTURE, [picture(head())])):
        _, found = concluded(kind, files, -1.386, used=setting(pins=(own,)))
        assert (found.finding.label, found.finding.threshold) == (Label.TUMOUR, 0.1)
        report = Report.load(found.files["report.json"])
        assert report.models[0].threshold_of == "site"
        assert [said.sentence for said in report.warnings if said.code is Code.SITE_THRESHOLD] == [
            "The finding was made at the site's own threshold, not at the card's."
        ]
        assert Code.SITE_THRESHOLD in found.warnings


def ruled(mask_from: float) -> Setting:
    """A rule by which the classifier alone only asks for masks, and masks decide."""
    even = SeriesForm(offset=0.0, temperature=1.0, threshold=0.5, review_low=0.5, review_high=0.5)
    weighty = even.model_copy(update={"mask_weight": 2.0, "offset": 4.0})
    rule = UNFITTED.model_copy(update={"version": 3, "mask_from": mask_from, "with_mask": weighty})
    return setting(pins=(pin("mobilenet", series=rule), pin("unet", "segmenter", channels=CHANNELS)))


def test_masks_speak_with_the_classifier_where_a_series_is_suspicious() -> None:
    files = dicom_series(6)
    _, passed = concluded(ScanKind.DICOM, files, -1.0, used=ruled(0.3))
    assert (passed.finding.label, passed.extents) == (Label.NO_TUMOUR, ())
    _, found = concluded(ScanKind.DICOM, files, -1.0, used=ruled(0.2))
    assert found.finding.label is Label.TUMOUR
    _, doubted = concluded(ScanKind.DICOM, files, 1.0, with_map=False, used=ruled(0.2))
    assert doubted.finding.label is Label.TUMOUR


def test_a_report_on_a_series_states_its_rule_and_what_was_weighed() -> None:
    files = dicom_series(6)
    _, found = concluded(ScanKind.DICOM, files, 1.0, used=ruled(0.2))
    (told,) = report_of(found).series
    assert (told.rule, told.inputs, told.probability) == ("neighbours 3", WITH_MASK, found.finding.probability)
    report = report_of(found)
    assert report.models[0].series == ruled(0.2).classifiers[0].series
    again = weighed(
        np.array([part.probabilities["mobilenet"] for part in report.slices]),
        np.array([part.mask_pixels or 0 for part in report.slices]) / (report.geometry.rows * report.geometry.columns),
        report.geometry.slice_mm,
        ruled(0.2).classifiers[0].series or UNFITTED,
    )
    assert (again.probability, again.evidence) == (told.probability, told.evidence)
    assert (again.first, again.length) == (told.first_slice, told.run_slices)


def test_a_picture_has_no_rule_for_series() -> None:
    assert report_of(concluded(ScanKind.PICTURE, [picture(head())], 4.0)[1]).series == ()
