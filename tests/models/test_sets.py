"""Tables of labelled sets: whatever can be understood is read, whatever cannot is told with its row."""

from pathlib import Path

import numpy as np
import pytest

from models.rows import read_rows
from models.sets import read_sets
from neurobatch.codes import Code
from neurobatch.errors import Refused
from tests.models.labelled import head, spot, write_picture, write_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "yes.png", head())
    write_picture(tmp_path / "no.png", head())
    write_picture(tmp_path / "mask.png", spot(40, 40, 6))
    write_picture(tmp_path / "empty.png", spot(40, 40, 6) * 0)
    return tmp_path


def refused(folder: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        read_sets(folder)
    return caught.value


def test_every_layout_is_read_from_its_header(folder: Path) -> None:
    row = {"patient": "a", "file": "yes.png", "mask": "mask.png", "tumour_pixels": 113, "split": "train"}
    for name, rows in (
        ("lgg", [{**row, "slice": 2}, {**row, "slice": 1, "file": "no.png", "mask": "empty.png", "tumour_pixels": 0}]),
        ("t1ce", [{**row, "class": "glioma", "plane": "coronal", "mask2": "mask.png"}, {**row, "mask2": ""}]),
    ):
        for file in ("yes.png", "no.png", "mask.png", "empty.png"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / file).write_bytes((folder / file).read_bytes())
        if name == "t1ce":
            rows[1] = {**rows[0], **rows[1]}
        write_table(folder / name / "slices.csv", rows)
    items = read_sets(folder)
    assert [(item.source, item.tumour, item.definition, item.number, item.row) for item in items] == [
        ("lgg", True, "flair", 2, 2),
        ("lgg", False, "flair", 1, 3),
        ("t1ce", True, "core", 0, 2),
        ("t1ce", True, "core", 0, 3),
    ]
    assert [(item.kind, item.plane, item.mask2 is not None) for item in items[2:]] == [
        ("glioma", "coronal", True),
        ("glioma", "coronal", False),
    ]
    assert read_sets(folder / "t1ce") == items[2:]


def test_columns_that_are_not_needed_may_be_absent(folder: Path) -> None:
    write_table(
        folder / "slices.csv", [{"file": "yes.png", "mask": "mask.png"}, {"file": "no.png", "mask": "empty.png"}]
    )
    assert [(item.tumour, item.group, item.split) for item in read_sets(folder)] == [
        (True, "yes", ""),
        (False, "no", ""),
    ]
    (folder / "slices.csv").unlink()
    write_table(folder / "images.csv", [{"file": "yes.png", "label": "Tumour"}, {"file": "no.png", "label": 0}])
    items = read_sets(folder)
    assert [(item.tumour, item.mask, item.source) for item in items] == [
        (True, None, folder.name),
        (False, None, folder.name),
    ]


def test_examinations_of_one_patient_stay_together(folder: Path) -> None:
    rows = [{"pid": pid, "file": "yes.png", "mask": "mask.png"} for pid in ("MR01A", "MR01B", "MR02")]
    write_table(folder / "slices.csv", rows)
    assert [item.group for item in read_sets(folder)] == ["MR01", "MR01", "MR02"]


def test_where_no_column_tells_the_layout_the_picture_does(folder: Path) -> None:
    write_picture(folder / "colour.png", np.dstack([head(), head(), head() // 2]))
    for file, definition in (("yes.png", "core"), ("colour.png", "flair")):
        write_table(folder / "slices.csv", [{"patient": "a", "file": file, "mask": "mask.png", "tumour_pixels": 113}])
        assert [item.definition for item in read_sets(folder)] == [definition]


def test_a_table_is_read_as_spreadsheets_save_it(folder: Path) -> None:
    (folder / "images.csv").write_bytes(
        "\ufeffFile ; Label;note\r\n\r\nyes.png;yes;\r\n no.png ;NO;blurred\r\n".encode()
    )
    assert [(item.tumour, item.doubtful, item.row) for item in read_sets(folder)] == [
        (True, False, 3),
        (False, True, 4),
    ]


@pytest.mark.parametrize(
    ("cells", "code", "told"),
    [
        ({"file": "gone.png", "label": "yes"}, Code.SOURCE_MISSING, "row 3"),
        ({"file": "yes.png", "label": "perhaps"}, Code.BAD_TABLE, "row 3: label or tumour is neither"),
        ({"file": "yes.png", "label": ""}, Code.BAD_TABLE, "row 3: neither tumour_pixels, label nor mask"),
        ({"file": "", "label": "yes"}, Code.BAD_TABLE, "row 3: there is nothing under file"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(folder: Path, cells: dict[str, str], code: Code, told: str) -> None:
    write_table(folder / "images.csv", [{"file": "no.png", "label": "no"}, cells])
    error = refused(folder)
    assert error.code == code
    assert told in error.detail
    assert "gone" not in error.detail  # a file's name may be a patient's


def test_a_folder_without_a_set_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path).code == Code.NO_SET


def test_what_is_no_table_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_bytes(b"file,label\n\xff\xfe,yes\n")
    assert refused(tmp_path).code == Code.BAD_TABLE
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(Refused, match="no header"):
        read_rows(tmp_path / "empty.csv", "labels")
