"""Files of a series form volumes by their geometry, wherever and in whatever order they were listed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobatch.codes import Code
from pipeline.limits import Limits
from pipeline.read.dicom_header import DicomHeader
from pipeline.read.grouping import SeriesPlan, group, series_geometry

LIMITS = Limits()
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def header(place: float | None = 0.0, series: int = 1, **fields: Any) -> DicomHeader:
    values: dict[str, Any] = {
        "series_uid": f"1.{series}",
        "rows": 64,
        "columns": 48,
        "position": None if place is None else (0.0, 0.0, place),
        "orientation": AXIAL,
        "pixel_mm": (0.5, 0.75),
        "thickness_mm": 4.0,
        **fields,
    }
    return DicomHeader.model_validate(values)


def all_indexes(plans: list[SeriesPlan]) -> list[int]:
    return sorted(i for plan in plans for i in (*plan.members, *plan.duplicates, *plan.others))


@given(order=st.permutations(range(12)))
def test_slices_come_in_the_order_of_their_positions_however_they_were_listed(order: list[int]) -> None:
    headers = [header(3.0 * place, number=100 - place) for place in order]
    (plan,) = group(headers, LIMITS)
    assert [order[index] for index in plan.members] == sorted(order)


@given(
    kinds=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), st.sampled_from([AXIAL, SAGITTAL, None])),
        max_size=30,
    )
)
def test_every_file_is_in_exactly_one_place_of_the_plan(kinds: list[tuple[Any, ...]]) -> None:
    headers = [
        header(float(place), series, sop_uid=f"{place}.{copy}" if copy else "", orientation=orientation)
        for series, place, copy, orientation in kinds
    ]
    assert all_indexes(group(headers, LIMITS)) == list(range(len(headers)))


def test_files_of_two_series_that_lie_mixed_are_two_scans() -> None:
    headers = [header(float(n // 2), series=n % 2) for n in range(10)]
    plans = group(headers, LIMITS)
    assert [plan.members for plan in plans] == [(0, 2, 4, 6, 8), (1, 3, 5, 7, 9)]


def test_the_same_instance_twice_is_read_once() -> None:
    (plan,) = group([header(0.0, sop_uid="a"), header(4.0, sop_uid="b"), header(0.0, sop_uid="a")], LIMITS)
    assert (plan.members, plan.duplicates) == ((0, 1), (2,))


def test_two_b_values_are_two_scans_and_are_never_mixed() -> None:
    headers = [header(float(n // 2), order=(0.0, 1000.0 * (n % 2))) for n in range(12)]
    plans = group(headers, LIMITS)
    assert [plan.members for plan in plans] == [(0, 2, 4, 6, 8, 10), (1, 3, 5, 7, 9, 11)]
    assert [plan.part for plan in plans] == [0, 1]


def test_of_a_long_time_series_the_first_volume_is_read() -> None:
    headers = [header(float(n % 5), order=(float(n // 5),)) for n in range(50)]
    (plan,) = group(headers, LIMITS)
    assert plan.members == (0, 1, 2, 3, 4)
    assert len(plan.others) == 45


def test_a_slice_that_was_taken_again_makes_no_volume_of_its_own() -> None:
    headers = [*(header(float(n)) for n in range(6)), header(2.0, number=1)]
    (plan,) = group(headers, LIMITS)
    assert plan.members == (0, 1, 2, 3, 4, 5)
    assert plan.others == (6,)


def test_another_orientation_or_size_in_a_series_is_another_scan() -> None:
    headers = [header(0.0), header(0.0, orientation=SAGITTAL), header(4.0), header(0.0, rows=32)]
    assert [plan.members for plan in group(headers, LIMITS)] == [(0, 2), (1,), (3,)]


def test_instance_numbers_order_only_what_has_no_positions() -> None:
    (plan,) = group([header(None, number=3), header(None, number=1), header(None, number=2)], LIMITS)
    assert plan.members == (1, 2, 0)
    geometry, found = series_geometry([header(None), header(None)])
    assert Code.ORIENTATION_UNKNOWN in found
    assert geometry.slice_mm == 4.0


def test_a_multi_frame_file_is_a_scan_by_itself() -> None:
    plans = group([header(frames=30), header(0.0)], LIMITS)
    assert [(plan.members, plan.slices) for plan in plans] == [((0,), 30), ((1,), 1)]


def test_instances_without_a_series_stay_apart() -> None:
    assert len(group([header(0.0, series_uid=""), header(1.0, series_uid="")], LIMITS)) == 2


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ([0.0, 3.0, 6.0, 9.0], set()),
        ([0.0, 3.01, 6.0, 9.02], set()),
        ([0.0, 3.0, 6.5, 9.0], {Code.SPACING_UNEVEN}),
        ([0.0, 3.0, 9.0, 12.0], {Code.SLICES_MISSING}),
    ],
)
def test_odd_gaps_are_told(places: list[float], found: set[Code]) -> None:
    geometry, odd = series_geometry([header(place) for place in places])
    assert odd == found
    assert geometry.slice_mm == pytest.approx(3.0, abs=0.5)


def test_the_affine_leads_from_voxels_to_the_patient() -> None:
    slices = [header(position=(10.0, 20.0, 5.0 * n)) for n in range(3)]
    geometry, _ = series_geometry(slices)
    assert geometry.space is not None
    affine = np.array(geometry.space.affine)
    column, row, slice_number = 2, 3, 1
    there = affine @ [column, row, slice_number, 1]
    assert there[:3].tolist() == [-(10.0 + 2 * 0.75), -(20.0 + 3 * 0.5), 5.0]
    assert geometry.slicing == "axial"
    assert geometry.space.shape == (48, 64, 3)


def test_pixel_spacing_that_is_missing_is_told() -> None:
    _, found = series_geometry([header(pixel_mm=None)])
    assert found == {Code.SPACING_UNKNOWN}
