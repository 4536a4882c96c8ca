"""DICOM files become volumes: ordered, on one grey scale, in their own geometry; or fail with the reason."""

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, RLELossless

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from neurobatch.records import ScanKind
from pipeline.limits import Limits
from pipeline.read.dicom import read_series
from pipeline.read.dicom_header import DEFLATED
from pipeline.read.dicom_pixels import decoded, opened
from tests.pipeline.inputs import dicom, dicom_series, ramp

LIMITS = Limits()


def failure(*files: bytes, limits: Limits = LIMITS) -> Code:
    with pytest.raises(ScanFailed) as caught:
        read_series(files, limits)
    return caught.value.code


def changed(data: bytes, **fields: Any) -> Dataset:
    dataset = dcmread(io.BytesIO(data))
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def written(dataset: Dataset) -> bytes:
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def deflated(data: bytes, behind: bytes = b"") -> bytes:
    """The file with its data set deflated, and more behind it in the same stream."""
    place = 132 + 12 + int.from_bytes(data[140:144], "little")  # after the file meta's group length
    meta = data[132:place].replace(b"1.2.840.10008.1.2.1\0", DEFLATED.encode())
    meta = meta.replace(b"\x10\0UI\x14\0", b"\x10\0UI\x16\0")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(data[place:] + behind) + packer.flush()
    group_length = (len(meta) - 12).to_bytes(4, "little")
    return data[:132] + meta[:8] + group_length + meta[12:] + body


def test_slices_are_ordered_by_position_and_not_by_number_or_name() -> None:
    files = dicom_series(5)
    volume = read_series([files[k] for k in (3, 0, 4, 2, 1)], LIMITS)
    assert volume.kind is ScanKind.DICOM
    assert volume.planes.shape == (5, 24, 32)
    assert volume.geometry.slice_mm == pytest.approx(3.0)
    assert volume.geometry.pixel_mm == (0.5, 0.75)
    means = volume.planes.reshape(5, -1).mean(axis=1)
    assert (np.diff(means) > 0).all()
    assert volume.warnings == ()
    assert volume.series_uid == "1.2.826.0.1.3680043.10.1.1"


def test_all_slices_share_one_grey_scale() -> None:
    dark, bright = np.full((24, 24), 100, np.uint16), np.full((24, 24), 1000, np.uint16)
    files = [dicom(number=1, position=(0, 0, 0), pixels=dark), dicom(number=2, position=(0, 0, 3), pixels=bright)]
    planes = read_series(files, LIMITS).planes
    assert (planes[0].max(), planes[1].min()) == (0, 255)


def test_a_rescale_that_differs_between_slices_is_applied() -> None:
    flat = np.full((24, 24), 100, np.uint16)
    files = [
        dicom(number=n, position=(0, 0, n), pixels=flat, RescaleSlope=float(n), RescaleIntercept=0.0) for n in (1, 2, 3)
    ]
    levels = read_series(files, LIMITS).planes[:, 0, 0].tolist()
    assert levels == [0, 128, 255]


def test_signed_pixels_keep_their_order() -> None:
    pixels = np.linspace(-500, 500, 24 * 24).astype(np.int16).reshape(24, 24)
    plane = read_series([dicom(pixels=pixels)], LIMITS).planes[0]
    assert (np.diff(plane.reshape(-1).astype(int)) >= 0).all()
    assert (plane.min(), plane.max()) == (0, 255)


def test_monochrome1_is_turned_so_that_bright_is_bright() -> None:
    normal = read_series([dicom()], LIMITS).planes
    turned = read_series([dicom(PhotometricInterpretation="MONOCHROME1")], LIMITS).planes
    assert np.array_equal(turned, 255 - normal)


def test_eight_bits_are_kept_as_they_are() -> None:
    pixels = np.arange(24 * 24, dtype=np.uint8).reshape(24, 24) // 3
    assert np.array_equal(read_series([dicom(pixels=pixels)], LIMITS).planes[0], pixels)


def test_colour_is_read_as_rgb() -> None:
    colours = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    data = dicom(
        pixels=colours[..., 0],
        PhotometricInterpretation="RGB",
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PixelData=colours.tobytes(),
    )
    assert np.array_equal(read_series([data], LIMITS).planes[0], colours)


def test_rle_gives_the_same_planes() -> None:
    plain = dicom()
    dataset = dcmread(io.BytesIO(plain))
    dataset.compress(RLELossless, generate_instance_uid=False)
    assert np.array_equal(read_series([written(dataset)], LIMITS).planes, read_series([plain], LIMITS).planes)


def test_gzip_around_a_file_is_taken_off() -> None:
    assert np.array_equal(read_series([gzip.compress(dicom())], LIMITS).planes, read_series([dicom()], LIMITS).planes)


def test_a_deflated_file_is_inflated_within_bounds() -> None:
    plain = dicom()
    same = read_series([deflated(plain)], LIMITS)
    assert np.array_equal(same.planes, read_series([plain], LIMITS).planes)
    bomb = deflated(plain, b"\0" * (8 << 20))
    assert len(bomb) < 20_000
    assert failure(bomb, limits=Limits(file_bytes=1 << 20)) is Code.OUT_OF_MEMORY


def test_the_same_instance_twice_is_read_once_and_told() -> None:
    files = dicom_series(3)
    volume = read_series([*files, files[1]], LIMITS)
    assert len(volume.planes) == 3
    assert volume.warnings == (Code.DUPLICATE_INSTANCE,)


def test_what_a_header_says_of_itself_is_told() -> None:
    volume = read_series([dicom(BodyPartExamined=None, PatientName="Water Phantom", BurnedInAnnotation="YES")], LIMITS)
    assert set(volume.warnings) == {Code.BODY_PART_UNKNOWN, Code.PHANTOM, Code.BURNED_IN_TEXT}


def test_a_picture_without_geometry_is_read_and_told() -> None:
    volume = read_series([dicom(position=None, orientation=None, PixelSpacing=None)], LIMITS)
    assert set(volume.warnings) == {Code.SPACING_UNKNOWN, Code.ORIENTATION_UNKNOWN}
    assert volume.geometry.space is not None
    assert volume.geometry.space.affine is None


def enhanced(places: list[float], weights: list[float] | None = None) -> bytes:
    """An enhanced MR file with a frame at each place, its pixels telling its place."""
    frames = np.stack([ramp(number=int(place)) for place in places])
    data = changed(dicom(position=None, orientation=None, PixelSpacing=None), NumberOfFrames=len(places))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4.1")
    data.PixelData = frames.tobytes()
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 2.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([orientation]), Items([measures])
    data.SharedFunctionalGroupsSequence = Items([shared])
    each = []
    for number, place in enumerate(places):
        frame, position, diffusion = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, place]
        diffusion.DiffusionBValue = weights[number] if weights else 0.0
        frame.PlanePositionSequence, frame.MRDiffusionSequence = Items([position]), Items([diffusion])
        each.append(frame)
    data.PerFrameFunctionalGroupsSequence = Items(each)
    return written(data)


def test_frames_of_an_enhanced_file_are_ordered_by_their_positions() -> None:
    volume = read_series([enhanced([9, 0, 6, 3])], LIMITS)
    assert volume.geometry.shape == (4, 24, 32)
    assert volume.geometry.slice_mm == pytest.approx(3.0)
    assert (np.diff(volume.planes.reshape(4, -1).mean(axis=1)) > 0).all()


def test_of_an_enhanced_file_with_several_volumes_the_first_is_read() -> None:
    volume = read_series([enhanced([0, 0, 3, 3], [1000.0, 0.0, 1000.0, 0.0])], LIMITS)
    assert len(volume.planes) == 2
    assert volume.warnings == (Code.FIRST_VOLUME_ONLY,)


def test_a_mosaic_fails_as_such() -> None:
    assert failure(dicom(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])) is Code.MOSAIC


def test_files_that_form_no_one_volume_fail() -> None:
    assert failure(dicom(series=1), dicom(series=2)) is Code.SERIES_INCONSISTENT


def test_pixels_that_are_cut_short_are_truncated() -> None:
    data = dicom()
    assert failure(data[:-100]) is Code.TRUNCATED


def test_a_header_that_is_cut_short_is_truncated() -> None:
    data = dicom()
    assert failure(data[: data.index(b"\x28\x00\x10\x00")]) is Code.TRUNCATED


def test_a_length_that_no_value_has_is_damage() -> None:
    data = bytearray(dicom())
    data[138:140] = (863).to_bytes(2, "little")  # of the file meta's group length, a number of four bytes
    assert failure(bytes(data)) is Code.DAMAGED


def test_what_is_raised_quotes_nothing_of_the_file() -> None:
    data = bytearray(dicom(PatientName="Doe^Jane"))
    data[138:140] = (863).to_bytes(2, "little")
    with pytest.raises(ScanFailed) as caught:
        read_series([bytes(data)], LIMITS)
    assert "Jane" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_compressed_pixels_that_are_cut_short_are_truncated_and_not_empty() -> None:
    dataset = dcmread(io.BytesIO(dicom()))
    dataset.compress(RLELossless)
    data = written(dataset)
    assert failure(data[:-60]) is Code.TRUNCATED


def test_an_unknown_transfer_syntax_is_named() -> None:
    dataset = changed(dicom())
    data = written(dataset).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")
    assert failure(data) is Code.UNSUPPORTED_SYNTAX


def test_a_size_that_no_scan_has_is_refused_before_memory_is_taken() -> None:
    assert failure(dicom(Rows=65535, Columns=65535)) is Code.TOO_MANY_PIXELS
    assert failure(dicom(Rows=2, Columns=3)) is Code.TOO_SMALL


def test_one_mosaic_in_nine_encodings_has_the_same_pixels_in_all(test_data: Path) -> None:
    folder = test_data / "dicom" / "siemens_mosaic_transfer_syntaxes"
    frames = [decoded(opened(path.read_bytes(), LIMITS)).frames for path in sorted(folder.iterdir())]
    assert len(frames) == 9
    assert all(np.array_equal(frames[0], other) for other in frames[1:])


@pytest.mark.slow
def test_a_whole_series_of_a_real_scanner_is_one_sagittal_volume(test_data: Path) -> None:
    files = sorted((test_data / "dicom" / "siemens_t1_sagittal").iterdir())
    volume = read_series([path.read_bytes() for path in files], LIMITS)
    assert volume.planes.shape == (192, 256, 256)
    assert volume.geometry.slicing == "sagittal"
    assert volume.geometry.slice_mm == pytest.approx(0.9)
    assert volume.warnings == ()
