"""Planning over real scans: every file of the test data ends in one scan or one left-out line."""

from collections import Counter
from pathlib import Path

import pytest

from neurobatch.records import RootSource, ScanKind
from storage.roots import Roots
from tests.worker.planned import Bench
from worker.sources import SourcesConfig


def over(folder: Path, tmp_path: Path) -> Bench:
    """A bench whose root is a folder of the test data, which is read in place."""
    bench = Bench(tmp_path)
    bench.config = SourcesConfig(store=bench.config.store, roots=Roots(configured={"r": str(folder)}))
    return bench


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("name", ["dicom", "nifti"])
def test_every_file_of_real_folders_ends_once(test_data: Path, tmp_path: Path, name: str) -> None:
    folder = test_data / name
    bench = over(folder, tmp_path)
    key = bench.accept()
    bench.plan(key)
    assert Counter(bench.ends(key)) == Counter(files_below(folder))
    again = bench.accept()
    bench.plan(again)
    assert bench.pages(again) == bench.pages(key)


@pytest.mark.parametrize(("name", "slices"), [("siemens_t1_sagittal", 192), ("ge_pd_axial", 20)])
def test_a_complete_series_is_one_scan_with_all_its_slices(
    test_data: Path, tmp_path: Path, name: str, slices: int
) -> None:
    (folder,) = (path for path in (test_data / "dicom").rglob(f"*{name}*") if path.is_dir())
    bench = over(folder.parent, tmp_path)
    key = bench.accept(RootSource(root="r", path=folder.name))
    bench.plan(key)
    assert [(scan.kind, len(scan.files)) for scan in bench.scans(key)] == [(ScanKind.DICOM, slices)]


@pytest.mark.slow
def test_every_picture_of_the_large_folder_is_a_scan(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "lgg" / "images"
    bench = over(folder, tmp_path)
    key = bench.accept()
    bench.plan(key)
    scans = bench.scans(key)
    assert sorted(scan.path for scan in scans) == files_below(folder)
    assert len(bench.pages(key)) == 4
