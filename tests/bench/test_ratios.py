"""Ratios are those of rounds, taken in turn."""

import pytest

from bench.ratios import alternate, times_as_fast
from bench.report import Row


def test_contestants_take_turns() -> None:
    seen: list[tuple[str, int]] = []

    def watch(name: str, number: int) -> float:
        seen.append((name, number))
        return float(number)

    found = alternate({"a": lambda number: watch("a", number), "b": lambda number: watch("b", number)}, 2)
    assert seen == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert found == {"a": (0.0, 1.0), "b": (0.0, 1.0)}


def test_more_scans_a_second_are_faster() -> None:
    assert times_as_fast([40.0, 40.0], [5.0, 5.0], rate=True) == 8.0


def test_fewer_milliseconds_are_faster() -> None:
    assert times_as_fast([5.0], [40.0], rate=False) == 8.0


def test_a_round_in_which_the_machine_was_slow_for_both_changes_no_ratio() -> None:
    assert times_as_fast([40.0, 4.0, 40.0], [5.0, 0.5, 5.0], rate=True) == 8.0


def test_one_disturbed_round_of_three_does_not_decide() -> None:
    assert times_as_fast([40.0, 40.0, 40.0], [5.0, 1.0, 5.0], rate=True) == 8.0


@pytest.mark.parametrize(("values", "base"), [([1.0], [1.0, 2.0]), ([], [])])
def test_rounds_that_are_not_the_same_have_no_ratio(values: list[float], base: list[float]) -> None:
    with pytest.raises(ValueError, match="same rounds"):
        times_as_fast(values, base, rate=True)


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="contestant"):
        alternate({}, 3)
    with pytest.raises(ValueError, match="round"):
        alternate({"a": float}, 0)


def test_a_row_tells_the_median_and_the_range_of_its_rounds() -> None:
    row = Row.of("ours", "scans/s", [30.0, 50.0, 40.0], [5.0, 5.0, 5.0])
    assert (row.median, row.low, row.high, row.ratio) == (40.0, 30.0, 50.0, 8.0)


def test_a_row_of_times_is_faster_where_it_is_smaller() -> None:
    assert Row.of("ours", "ms", [10.0], [80.0]).ratio == 8.0


def test_a_row_without_a_base_has_no_ratio() -> None:
    assert Row.of("ours", "ms", [10.0]).ratio is None
