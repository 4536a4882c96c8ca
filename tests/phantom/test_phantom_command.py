"""`neurobatch phantom`: a folder of scans, and the truth beside them."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from phantom.commands import phantom


def run(folder: Path, *options: str) -> str:
    result = CliRunner().invoke(phantom, [str(folder), "--size", "64", "--slices", "3", "--jobs", "1", *options])
    assert result.exit_code == 0, result.output
    return result.output


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_mixed_folder_holds_every_kind_and_the_truth_names_each(tmp_path: Path) -> None:
    told = run(tmp_path, "--count", "12", "--kind", "mixed", "--truth")
    with (tmp_path / "truth" / "truth.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert told.startswith("12 phantoms in ")
    assert "6 of them with a tumour" in told
    assert [row["finding"] for row in rows].count("tumour") == 6
    assert {row["kind"] for row in rows} == {"picture", "dicom", "nifti"}
    assert all((tmp_path / row["path"]).exists() for row in rows)
    assert all((tmp_path / "truth" / row["mask"]).is_file() for row in rows)
    assert {bool(int(row["lesion_pixels"])) for row in rows if row["finding"] == "no_tumour"} == {False}


def test_the_same_seed_gives_the_same_folder_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", "4"), ("b", "4"), ("c", "5")):
        run(tmp_path / name, "--count", "3", "--seed", seed)
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b")
    assert content_of(tmp_path / "a") != content_of(tmp_path / "c")


def test_two_processes_make_the_same_folder_as_one(tmp_path: Path) -> None:
    run(tmp_path / "one", "--count", "4")
    run(tmp_path / "two", "--count", "4", "--jobs", "2")
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


def test_without_truth_there_are_scans_only(tmp_path: Path) -> None:
    run(tmp_path, "--count", "2", "--sequence", "t2", "--lesions", "1")
    assert sorted(content_of(tmp_path)) == ["phantom_000000.png", "phantom_000001.jpg"]


@pytest.mark.parametrize(
    "options", [["--count", "0"], ["--lesions", "1.5"], ["--kind", "film"], ["--sequence", "ct"], ["--size", "8"]]
)
def test_a_wrong_option_is_wrong_use(tmp_path: Path, options: list[str]) -> None:
    result = CliRunner().invoke(phantom, [str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
