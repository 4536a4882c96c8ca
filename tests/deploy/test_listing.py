"""The same command on the same files finds its batch again, and on others it does not."""

import os
from pathlib import Path

import pytest

from deploy.local.listing import list_files
from neurobatch.records import Options


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.png").write_bytes(b"one")
    (tmp_path / "a" / "2.png").write_bytes(b"twotwo")
    (tmp_path / "a" / "link.png").symlink_to("2.png")
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.png")).write_bytes(b"")
    return tmp_path / "a"


def digest(folder: Path, options: Options | None = None, models: dict[str, str] | None = None) -> str:
    return list_files([folder], options or Options(), models or {"mobilenet": "ab"}).digest


def test_files_are_counted_and_weighed(folder: Path) -> None:
    listing = list_files([folder], Options(), {})
    assert listing.files == 4
    assert listing.size == 3 + 6 + len("2.png")


def test_the_same_files_give_the_same_digest(folder: Path) -> None:
    assert digest(folder) == digest(folder)
    assert digest(Path(os.path.relpath(folder))) == digest(folder)


def test_a_name_a_size_a_time_an_option_or_a_network_gives_another(folder: Path) -> None:
    seen = {digest(folder), digest(folder, Options(segment="all")), digest(folder, models={"mobilenet": "cd"})}
    os.utime(folder / "2.png", ns=(0, 1))
    seen.add(digest(folder))
    (folder / "2.png").write_bytes(b"twotwoo")
    os.utime(folder / "2.png", ns=(0, 1))
    seen.add(digest(folder))
    (folder / "2.png").rename(folder / "3.png")
    seen.add(digest(folder))
    assert len(seen) == 6


def test_names_that_run_together_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a").write_bytes(b"")
    (tmp_path / "two" / "a").write_bytes(b"")
    one = list_files([tmp_path / "one", tmp_path / "two"], Options(), {}).digest
    (tmp_path / "two" / "a").rename(tmp_path / "one" / "b")
    assert list_files([tmp_path / "one", tmp_path / "two"], Options(), {}).digest != one


def test_one_file_is_a_listing_too(folder: Path) -> None:
    assert list_files([folder / "2.png"], Options(), {}).files == 1
