"""Files are told by what is in them, and those that belong in no scan are left out with the reason."""

import gzip
import io
from typing import Any

import numpy as np
import pytest

from neurobatch.codes import Code
from neurobatch.errors import LeftOut
from neurobatch.records import ScanKind
from pipeline.limits import Limits
from pipeline.read.sort import HEAD_BYTES, Described, Kind, describe, hidden, sniff
from tests.pipeline.inputs import dicom, nifti, picture, ramp, tarred, zipped

LIMITS = Limits()
GREY = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
VOLUME = np.arange(20 * 20 * 20, dtype=np.int16).reshape(20, 20, 20)


def described(data: bytes, name: str = "file", limits: Limits = LIMITS) -> Described:
    return describe(sniff(data[:HEAD_BYTES], name), name, io.BytesIO(data), limits)


def left_out(data: bytes, name: str = "file") -> Code:
    with pytest.raises(LeftOut) as caught:
        described(data, name)
    return caught.value.code


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_picture_is_known_whatever_it_is_called(form: str) -> None:
    assert sniff(picture(GREY, form)[:HEAD_BYTES], "scan.dcm") is Kind.PICTURE


def test_dicom_is_known_with_and_without_its_preamble() -> None:
    whole = dicom()
    assert sniff(whole[:HEAD_BYTES], "IM_0001") is Kind.DICOM
    assert sniff(whole[132 : 132 + HEAD_BYTES], "IM_0001") is Kind.DICOM


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_nifti_is_known_packed_or_not_whatever_its_name_says(packed: bool, second: bool) -> None:
    data = nifti(VOLUME, packed=packed, second=second)
    assert sniff(data[:HEAD_BYTES], "volume.png") is Kind.NIFTI
    assert described(data).slices == 20


def test_gzip_around_dicom_is_looked_through() -> None:
    found = described(gzip.compress(dicom()), "a.dcm.gz")
    assert found.header is not None
    assert found.header.rows == 24


def test_archives_are_known() -> None:
    assert sniff(zipped({"a": b"1"})[:HEAD_BYTES]) is Kind.ARCHIVE
    assert sniff(tarred({"a": b"1"})[:HEAD_BYTES]) is Kind.ARCHIVE
    assert sniff(tarred({"a": b"1"}, "w:gz")[:HEAD_BYTES]) is Kind.ARCHIVE


def test_a_tar_of_the_seventh_edition_is_known_by_its_checksum() -> None:
    block = bytearray(tarred({"a": b"1"})[:HEAD_BYTES])
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    assert sniff(bytes(block), "old") is Kind.ARCHIVE


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"", "empty.nii.gz", Code.EMPTY_FILE),
        (b"just words", "words.png", Code.NOT_A_SCAN),
        (b"\0" * 600, "zeros.dcm", Code.NOT_A_SCAN),
        (b"Bud1", ".DS_Store", Code.HIDDEN_FILE),
        (picture(GREY), "__MACOSX/._scan.png", Code.HIDDEN_FILE),
        (zipped({"a": b"1"}), "inner.zip", Code.ARCHIVE_NESTED),
        (b"\1\2\3", "volume.img", Code.PAIR_OF_FILES),
    ],
)
def test_what_is_no_scan_is_left_out_with_the_reason(data: bytes, name: str, code: Code) -> None:
    assert left_out(data, name) is code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"Modality": "CT"}, Code.NOT_MR),
        ({"Modality": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, Code.NOT_MR),
        ({"PixelData": None}, Code.NO_PIXELS),
        ({"SOPClassUID": "1.2.840.10008.1.3.10"}, Code.DICOMDIR),
        ({"BodyPartExamined": "KNEE"}, Code.NOT_HEAD),
        ({"BodyPartExamined": None, "StudyDescription": "MR L_SPINE"}, Code.NOT_HEAD),
        (
            {
                "BodyPartExamined": None,
                "StudyDescription": "МРТ колена",
                "SpecificCharacterSet": "ISO_IR 192",
            },
            Code.NOT_HEAD,
        ),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Code.LOCALIZER),
        ({"SeriesDescription": "3-PLANE LOC"}, Code.LOCALIZER),
        ({"SeriesDescription": "ADC map"}, Code.LOCALIZER),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}, Code.LOCALIZER),
        ({"NumberOfFrames": 2, "PixelData": np.stack([ramp(), ramp()]).tobytes()}, Code.NOT_A_VOLUME),
    ],
)
def test_dicom_that_belongs_in_no_scan_is_left_out(fields: dict[str, Any], code: Code) -> None:
    assert left_out(dicom(**fields)) is code


@pytest.mark.parametrize(
    "fields",
    [
        {"BodyPartExamined": "HEADNECK"},
        {"BodyPartExamined": None, "StudyDescription": "Brain and cervical spine"},
        {
            "BodyPartExamined": None,
            "StudyDescription": "МРТ головного мозга",
            "SpecificCharacterSet": "ISO_IR 192",
        },
        {"SeriesDescription": "T1 FA 15 loco"},
        {"StudyDescription": "Computer assisted medicine"},
    ],
)
def test_a_head_is_not_left_out_for_a_word_that_looks_like_another(fields: dict[str, Any]) -> None:
    header = described(dicom(**fields)).header
    assert header is not None
    assert header.body_known


def test_a_head_that_nobody_names_is_read_with_a_note() -> None:
    header = described(dicom(BodyPartExamined=None)).header
    assert header is not None
    assert not header.body_known


@pytest.mark.parametrize(
    ("array", "fields", "code"),
    [
        (np.zeros((20, 20, 20, 3), np.int16), {}, Code.NOT_A_VOLUME),
        (VOLUME, {"intent_code": 5}, Code.NOT_A_VOLUME),
        (VOLUME, {"intent_code": 1002}, Code.NOT_A_VOLUME),
    ],
)
def test_time_series_maps_and_pairs_are_left_out(array: Any, fields: dict[str, Any], code: Code) -> None:
    assert left_out(nifti(array, fields=fields), "v.nii") is code


def test_the_header_of_a_pair_is_left_out() -> None:
    assert left_out(nifti(VOLUME).replace(b"n+1\0", b"ni1\0"), "v.hdr") is Code.PAIR_OF_FILES


def test_one_volume_in_four_dimensions_is_a_volume() -> None:
    assert described(nifti(VOLUME[..., None]), "v.nii").kind is ScanKind.NIFTI


def test_a_header_that_cannot_be_read_still_makes_a_scan_that_will_fail() -> None:
    found = described(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    assert found.kind is ScanKind.DICOM
    assert found.header is None


def test_an_image_that_is_cut_within_its_header_is_a_scan_that_will_fail() -> None:
    whole = dicom()
    cut = whole[: whole.index(b"\x28\x00\x10\x00")]  # before Rows
    assert described(cut).header is None


def test_an_image_whose_header_is_lost_is_a_scan_that_will_fail_and_is_not_left_out() -> None:
    data = dicom(pixels=np.ones((128, 128), np.uint16))
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    lost = data[:start] + b"\x08\0\x05\0UN\0\0\xff\xff\xff\x7f" + data[start:]
    assert described(lost).header is None


def test_a_header_holds_no_text_of_the_patients() -> None:
    header = described(dicom(PatientName="Doe^Jane", PatientID="4711", StudyDescription="Brain of Jane")).header
    assert header is not None
    assert "Jane" not in header.model_dump_json()
    assert "4711" not in header.model_dump_json()


def test_only_the_header_of_a_large_file_is_read() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    stream = Counting(dicom(pixels=np.zeros((1024, 1024), np.uint16)))
    describe(Kind.DICOM, "a", stream, Limits())
    assert stream.taken < 200_000


@pytest.mark.parametrize("name", ["a/.git/x.png", "Thumbs.db", "x/__MACOSX/y.png", "a\\.DS_Store"])
def test_files_of_an_operating_system_are_hidden(name: str) -> None:
    assert hidden(name)


def test_a_path_that_starts_here_is_not_hidden() -> None:
    assert not hidden("./a/../b.png")
