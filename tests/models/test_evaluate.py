"""`neurobatch evaluate` on small sets that the test draws, with the shipped networks through OpenVINO."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from models.carding import card_text
from models.data import read_mask, read_plane
from models.engines.choice import choose
from models.engines.seam import SIDE as SQUARE
from models.recarding import write_anew
from models.registry import TABLE, networks, open_weights
from models.scores import dice
from models.sets import read_sets
from neurobatch.cli import cli
from neurobatch.codes import DISCLAIMER
from neurobatch.settings import load_settings
from pipeline.prepare.profiles import prepare
from tests.models.labelled import head, spot, write_picture, write_table

pytestmark = pytest.mark.slow
PATIENTS = ("Smith", "Jones")  # names that no file and no page may show


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two volumes of three slices, three single slices with two readers, four pictures of two sources."""
    folder = tmp_path_factory.mktemp("sets")
    _volumes(folder / "lgg")
    _slices(folder / "t1ce")
    _pictures(folder / "web")
    return folder


def _volumes(folder: Path) -> None:
    rows = []
    for patient in PATIENTS:
        for number in (3, 1, 2):
            lesion = spot(40, 36, 9) if number == 2 else spot(0, 0, 1) * 0
            grey = head() + lesion // 2
            name = f"{patient}_{number}.png"
            write_picture(folder / name, np.dstack([grey, grey, head()]))
            write_picture(folder / f"mask_{name}", lesion)
            rows.append({"patient": patient, "slice": number, "file": name, "mask": f"mask_{name}", "split": "held"})
    write_table(folder / "slices.csv", rows)


def _slices(folder: Path) -> None:
    rows = []
    for number in range(3):
        write_picture(folder / f"{number}.png", head() + spot(50, 40 + number, 8) // 2)
        write_picture(folder / f"first_{number}.png", spot(50, 40 + number, 8))
        write_picture(folder / f"second_{number}.png", spot(52, 40 + number, 7))
        rows.append(
            {
                "n": number, "patient": "Smith", "class": ("glioma", "meningioma")[number % 2], "file": f"{number}.png",
                "mask": f"first_{number}.png", "tumour_pixels": 200, "plane": "axial",
                "mask2": f"second_{number}.png" if number else "",
            }
        )  # fmt: skip
    write_table(folder / "slices.csv", rows)


def _pictures(folder: Path) -> None:
    for name, picture in (("a", head() + spot(40, 40, 10) // 2), ("b", head()), ("c", head(64)), ("d", head(128))):
        write_picture(folder / f"{name}.jpg", picture)
    rows = [{"file": f"{name}.jpg", "label": "yes" if name == "a" else "no", "source": "ab" if name in "ab" else "cd"}
            for name in "abcd"]  # fmt: skip
    write_table(folder / "images.csv", rows)


def evaluate(*words: str) -> Result:
    done = CliRunner().invoke(cli, ["evaluate", *words, "--engine", "openvino"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def figures(folder: Path, *words: str) -> dict[str, Any]:
    evaluate(*words, "--json", str(folder / "figures.json"))
    found: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return found


@pytest.fixture(scope="module")
def judged(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, Any]]:
    """MobileNet on the sets: the report's folder, what was printed, all figures."""
    folder = tmp_path_factory.mktemp("judged")
    done = evaluate("mobilenet", "--data", str(sets), "--to", str(folder), "--json", str(folder / "all.json"))
    return folder, done.stdout, json.loads((folder / "all.json").read_text())


def test_figures_are_what_the_network_said_counted_by_hand(
    sets: Path, judged: tuple[Path, str, dict[str, Any]]
) -> None:
    network = networks()["mobilenet"]
    predictor = choose("openvino", load_settings().engines_folder).load("mobilenet", open_weights("mobilenet"), 4)
    items = read_sets(sets / "web")
    squares = np.stack([prepare(read_plane(item.file), network.profile, SQUARE) for item in items])
    chance = [network.probability(float(logit)) for logit in predictor.predict(squares)[:, 0]]
    said = [each >= network.threshold for each in chance]
    expected = {
        "tp": sum(s and i.tumour for s, i in zip(said, items, strict=True)),
        "fn": sum(not s and i.tumour for s, i in zip(said, items, strict=True)),
        "fp": sum(s and not i.tumour for s, i in zip(said, items, strict=True)),
        "tn": sum(not s and not i.tumour for s, i in zip(said, items, strict=True)),
    }
    parts = judged[2]["parts"]
    assert parts["web"]["confusion"] == expected
    assert parts["web"]["auc"] == pytest.approx(sum(chance[0] > other for other in chance[1:]) / 3, abs=1e-4)
    assert set(parts) == {"ab", "cd", "lgg", "lgg-flair", "t1ce", "web"}
    assert (parts["lgg"]["pictures"], parts["lgg"]["tumour"], parts["lgg"]["groups"]) == (6, 2, 2)
    assert judged[2]["split"] == "all"
    assert judged[2]["threshold"] == network.threshold


def test_the_report_has_tables_plots_and_the_worst_cases_and_names_no_patient(
    judged: tuple[Path, str, dict[str, Any]],
) -> None:
    folder, printed, _ = judged
    files = {file.name for file in folder.iterdir()}
    assert {"report.html", "figures.json", "figures.csv", "confusion.png", "roc.png", "reliability.png"} <= files
    assert "precision-recall.png" in files
    page = (folder / "report.html").read_text()
    for told in (DISCLAIMER, "Confusion", "sensitivity", "to be reviewed", "ECE, 15 bins"):
        assert told in page
    assert "LGG, FLAIR alone" in printed
    for name in PATIENTS:
        assert name not in page + printed + "".join(files)
    for file in folder.glob("*.png"):
        assert cv2.imread(str(file)) is not None
        assert f'src="{file.name}"' in page
    rows = list(csv.DictReader((folder / "figures.csv").read_text().splitlines()))
    assert {"accuracy", "confusion.tp", "by_threshold.0.5.specificity"} <= {row["figure"] for row in rows}


def test_the_same_call_gives_the_same_figures(
    sets: Path, tmp_path: Path, judged: tuple[Path, str, dict[str, Any]]
) -> None:
    assert figures(tmp_path, "mobilenet", "--data", str(sets)) == judged[2]


def test_a_split_is_chosen_whatever_it_is_called(sets: Path, tmp_path: Path) -> None:
    assert set(figures(tmp_path, "mobilenet", "--data", str(sets), "--split", "held")["parts"]) == {"lgg", "lgg-flair"}


def test_outlines_are_compared_by_volume_by_slice_and_between_readers(sets: Path, tmp_path: Path) -> None:
    parts = figures(tmp_path, "unet", "--data", str(sets), "--to", str(tmp_path))["parts"]
    assert (parts["lgg"]["patients"], parts["lgg"]["lesions"], parts["lgg"]["healthy"]) == (2, 2, 4)
    assert parts["lgg"]["dice_by_patient"] == pytest.approx([parts["lgg"]["dice_mean"]] * 2)  # both are the same head
    assert parts["t1ce"]["slices"] == 3
    readers = parts["t1ce"]["readers"]
    pairs = [(item.mask, item.mask2) for item in read_sets(sets / "t1ce") if item.mask and item.mask2]
    expected = np.mean([dice(read_mask(first), read_mask(second)) for first, second in pairs])
    assert readers["slices"] == 2
    assert readers["first_second"] == pytest.approx(expected, abs=1e-4)
    assert (tmp_path / "report.html").is_file()
    assert list(tmp_path.glob("worst-*.png"))


def test_a_picture_that_cannot_be_decoded_is_told_and_the_rest_is_measured(sets: Path, tmp_path: Path) -> None:
    web = tmp_path / "web"
    _pictures(web)
    (web / "b.jpg").write_bytes(b"no picture")
    parts = figures(tmp_path, "mobilenet", "--data", str(web))["parts"]
    assert parts["ab"]["unreadable_rows"] == [3]
    assert (parts["ab"]["pictures"], parts["cd"]["pictures"]) == (1, 2)


@pytest.mark.parametrize("name", ["mobilenet", "unet"])
def test_a_card_is_made_anew_from_what_is_measured_now(sets: Path, tmp_path: Path, name: str) -> None:
    network, web = networks()[name], tmp_path / "web"
    _pictures(web)
    rows = list(csv.DictReader((web / "images.csv").read_text().splitlines()))
    write_table(web / "images.csv", [{**row, "split": "val"} for row in rows])
    training = {"configuration": f"{name}.toml", "seed": 7}
    (tmp_path / f"{name}.json").write_text(json.dumps({"training": training}))
    before = TABLE.read_bytes()
    card = write_anew(network, web, choose("openvino", load_settings().engines_folder), tmp_path).read_text()
    found = json.loads((tmp_path / f"{name}.json").read_text())
    assert found["training"] == training
    assert card == card_text(network, found)
    for heading in ("## Intended use", "## Data", "## Figures", "## Limits and risks", "## In use"):
        assert heading in card
    for told in (DISCLAIMER, network.sha256, network.licence):
        assert told in card
    assert (tmp_path / f"{name}-reliability.png").is_file() == (name == "mobilenet")
    assert TABLE.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("mobilenet",),
        ("mobilenet", "--data", ".", "--batch", "x"),
        ("--batch", "x"),
        ("mobilenet", "--batch", "x", "--labels", __file__),
    ],
)
def test_half_a_question_is_refused(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, ["evaluate", *words])
    assert done.exit_code == 2
    assert "--batch and --labels" in done.output


def test_nothing_but_drawing_imports_matplotlib() -> None:
    program = (
        "import sys, api.wsgi, models.commands, models.comparing, models.evaluate, models.summary, worker.app\n"
        "print([name for name in ('matplotlib', 'keras', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
