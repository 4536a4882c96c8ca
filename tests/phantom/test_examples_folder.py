"""`examples/` is what the generator makes, and its two tables say the same."""

import csv
import gzip
import re
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

from phantom import examples

FOLDER = Path(__file__).parents[2] / "examples"
EXACT = (".dcm", ".tif", ".csv")  # nothing in these is compressed
JPEG_TOLERANCE = 3  # grey levels: decoders and encoders may round differently


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return examples.files()


def pixels(name: str, content: bytes) -> npt.NDArray[np.int64]:
    if name.endswith(".nii.gz"):
        volume = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
        return np.asarray(volume.dataobj).astype(np.int64)
    with Pillow.open(BytesIO(content)) as picture:
        return np.asarray(picture).astype(np.int64)


def test_the_folder_holds_what_the_command_makes_and_its_page(made: dict[str, bytes]) -> None:
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert there == {*made, "README.md"}


def test_what_is_not_compressed_is_the_same_byte_for_byte(made: dict[str, bytes]) -> None:
    exact = {name: content for name, content in made.items() if name.endswith(EXACT)}
    assert len(exact) == 20 + 2 + 1  # the series, the TIFFs, the table
    assert [name for name, content in exact.items() if (FOLDER / name).read_bytes() != content] == []


def test_what_is_compressed_holds_the_same_numbers(made: dict[str, bytes]) -> None:
    for name, content in made.items():
        if not name.endswith(EXACT):
            difference = np.abs(pixels(name, content) - pixels(name, (FOLDER / name).read_bytes()))
            assert difference.max() <= (JPEG_TOLERANCE if name.endswith(".jpg") else 0), name


def test_the_examples_take_less_than_three_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 3_000_000


def test_the_page_and_the_table_name_every_scan_with_the_same_finding() -> None:
    page = re.findall(r"^\| `([^`]+)` \|.*\| `(\w+)` \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    with (FOLDER / "expected.csv").open(newline="") as lines:
        table = [(row["path"], row["finding"]) for row in csv.DictReader(lines)]
    assert sorted((name.rstrip("/"), finding) for name, finding in page) == sorted(table)
    assert sorted(name for name, _ in table) == sorted(order.name for order in examples.ORDERS)


def test_half_of_the_examples_have_a_tumour() -> None:
    assert sum(bool(order.lesion) for order in examples.ORDERS) * 2 == len(examples.ORDERS)
