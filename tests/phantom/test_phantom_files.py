"""Phantoms as files: readers accept them, and DICOM and NIfTI say the same of where a voxel lies."""

import gzip
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from phantom.catalogue import Kind, Made, Order, make, orders
from phantom.sequences import Look


def order(name: str, kind: Kind, *, seed: int = 5, look: Look = Look.FLAIR, deep: bool = False) -> Order:
    return Order(name=name, seed=seed, kind=kind, look=look, lesion=True, size=64, deep=deep, slices=6)


def series_of(made: Made) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(BytesIO(content)) for content in made.files.values()]


@pytest.mark.parametrize(
    ("name", "deep", "look", "mode", "kind"),
    [
        ("a.png", False, Look.FLAIR, "L", "PNG"),
        ("a.png", True, Look.FLAIR, "I;16", "PNG"),
        ("a.png", False, Look.COMPOSITE, "RGB", "PNG"),
        ("a.png", True, Look.COMPOSITE, "RGB", "PNG"),
        ("a.jpg", False, Look.T2, "L", "JPEG"),
        ("a.jpg", True, Look.T2, "L", "JPEG"),
        ("a.tif", False, Look.T1, "L", "TIFF"),
        ("a.tif", True, Look.T1, "I;16", "TIFF"),
    ],
)
def test_a_picture_is_of_the_kind_that_was_ordered(name: str, deep: bool, look: Look, mode: str, kind: str) -> None:
    made = make(order(name, Kind.PICTURE, look=look, deep=deep))
    with Pillow.open(BytesIO(made.files[name])) as picture:
        picture.load()
        assert (picture.format, picture.mode, picture.size) == (kind, mode, (64, 64))
    with Pillow.open(BytesIO(made.masks()["a_mask.png"])) as mask:
        values = np.asarray(mask)
    assert set(np.unique(values)) == {0, 255}
    assert list(made.lesion_pixels) == [np.count_nonzero(values)]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_dicom_and_nifti_agree_on_the_place_and_value_of_every_voxel(seed: int) -> None:
    series = series_of(make(order("a", Kind.DICOM, seed=seed)))
    nifti = make(order("a.nii.gz", Kind.NIFTI, seed=seed)).files["a.nii.gz"]
    volume = nibabel.Nifti1Image.from_bytes(gzip.decompress(nifti))
    data = np.asarray(volume.dataobj)
    for index, dataset in enumerate(series):
        across, down = np.reshape(np.array(dataset.ImageOrientationPatient, float), (2, 3))
        pitch = np.array(dataset.PixelSpacing, float)
        for row, column in ((0, 0), (10, 20), (63, 63)):
            place = np.array(dataset.ImagePositionPatient, float) + column * pitch[1] * across + row * pitch[0] * down
            voxel = (column, 63 - row, index)  # rows of the NIfTI run from back to front
            ras = volume.affine @ np.array([*voxel, 1.0])
            assert np.allclose(place * (-1, -1, 1), ras[:3], atol=1e-3)
            assert dataset.pixel_array[row, column] == data[voxel]


def test_a_series_is_one_volume_of_an_axial_head_mr() -> None:
    series = series_of(make(order("a", Kind.DICOM)))
    normals = np.array([np.cross(*np.reshape(np.array(d.ImageOrientationPatient, float), (2, 3))) for d in series])
    places = np.array([d.ImagePositionPatient for d in series], float)
    steps = np.diff((places * normals).sum(axis=1))
    assert np.allclose(normals, normals[0])
    assert abs(normals[0][2]) > 0.97  # axial, within the few degrees by which a head is turned
    assert np.allclose(steps, 4.0, atol=1e-6)
    assert np.allclose(np.diff(places, axis=0), steps[:, None] * normals[0], atol=1e-5)  # no shear
    assert [int(d.InstanceNumber) for d in series] == [1, 2, 3, 4, 5, 6]
    assert {(d.Modality, d.BodyPartExamined, d.Rows, d.Columns) for d in series} == {("MR", "HEAD", 64, 64)}
    assert {float(d.SliceThickness) for d in series} == {float(d.SpacingBetweenSlices) for d in series} == {4.0}


def test_a_series_has_one_study_and_series_and_an_instance_for_each_slice_all_below_2_25() -> None:
    series = series_of(make(order("a", Kind.DICOM)))
    other = series_of(make(order("a", Kind.DICOM, seed=6)))
    assert len({d.StudyInstanceUID for d in series}) == len({d.SeriesInstanceUID for d in series}) == 1
    assert len({d.SOPInstanceUID for d in series + other}) == 12
    assert series[0].SeriesInstanceUID != other[0].SeriesInstanceUID
    assert all(
        uid.startswith("2.25.") and len(uid) <= 64
        for d in series
        for uid in (d.SOPInstanceUID, d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID)
    )
    assert all(d.file_meta.MediaStorageSOPInstanceUID == d.SOPInstanceUID for d in series)


def test_a_series_says_that_it_is_a_phantom() -> None:
    dataset = series_of(make(order("a", Kind.DICOM)))[0]
    assert dataset.QualityControlImage == "YES"
    assert str(dataset.PatientName).startswith("Phantom^")


@pytest.mark.parametrize(("name", "kind"), [("a", Kind.DICOM), ("a.nii.gz", Kind.NIFTI), ("a.tif", Kind.PICTURE)])
def test_the_same_order_gives_the_same_bytes(name: str, kind: Kind) -> None:
    assert make(order(name, kind)).files == make(order(name, kind)).files


def test_the_truth_of_a_volume_lies_on_the_volume_s_own_grid() -> None:
    made = make(order("a.nii.gz", Kind.NIFTI))
    volume, truth = (
        nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
        for content in (made.files["a.nii.gz"], made.masks()["a_mask.nii.gz"])
    )
    assert truth.shape == volume.shape
    assert np.array_equal(truth.affine, volume.affine)
    assert np.count_nonzero(np.asarray(truth.dataobj)) == sum(made.lesion_pixels) > 0


@given(count=st.integers(1, 200), share=st.floats(0, 1))
def test_the_share_of_lesions_is_kept(count: int, share: float) -> None:
    wanted = list(orders(count=count, seed=1, kind=None, lesions=share, look=None, size=64, slices=3))
    assert abs(sum(bool(each.lesion) for each in wanted) - count * share) <= 1
    assert len({each.name for each in wanted}) == len({each.seed for each in wanted}) == count


def test_the_command_names_no_file_outside_of_its_folder() -> None:
    wanted = orders(count=30, seed=1, kind=None, lesions=0.5, look=None, size=64, slices=3)
    assert all(Path(each.name).name == each.name for each in wanted)
