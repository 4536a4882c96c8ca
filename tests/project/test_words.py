"""What no file of this repository may say."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.project.tree import ROOT, files

HOSTS = r"\b(pypi\.org|pythonhosted\.org|deb\.debian\.org|npmjs\.org|proxy\.golang\.org)\b"
PLACES = r"(?<![\w./-])(/work|/root|\.\./shared|shared)/(?=\w)"
LATER = r"\b(TODO|FIXME|XXX)\b|raise NotImplementedError"
MAY_NAME_ITS_SURROUNDINGS = {ROOT / ".ci" / "run", Path(__file__)}
PICTURES = {".png", ".jpg", ".jpeg", ".gz", ".h5", ".dcm", ".tif", ".xz"}


def found(pattern: str) -> Iterator[str]:
    for path in files():
        if path not in MAY_NAME_ITS_SURROUNDINGS and path.suffix not in PICTURES:
            text = path.read_bytes().decode("utf-8", errors="ignore")
            yield from (f"{path.relative_to(ROOT)}: {match[0]}" for match in re.finditer(pattern, text))


def test_no_file_names_a_package_registry() -> None:
    assert list(found(HOSTS)) == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    assert list(found(PLACES)) == []


def test_nothing_is_left_for_later() -> None:
    assert list(found(LATER)) == []
