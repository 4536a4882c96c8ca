"""What bfloat16 changes is measured by two engines on the same pictures, and stands on the card."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.bfloat16 import compared
from models.carding import card_text
from models.engines.choice import choose
from models.engines.processor import multiplies_bfloat16
from models.evaluate import VALIDATION, evaluate
from models.registry import CARDS, networks, open_weights
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.settings import load_settings
from tests.models.labelled import patients


def part(**changed: Any) -> dict[str, Any]:
    return {
        "float32": {"auc": 0.9876, "recall": 0.5},
        "bfloat16": {"auc": 0.9871, "recall": 0.5} | changed,
        "pictures": 8,
        "other_findings": 1,
        "probability_differs": 0.0123,
        "probability_differs_median": 0.0004,
    }


def test_a_card_tells_each_figure_in_both_and_how_many_findings_are_others() -> None:
    figures = json.loads((CARDS / "mobilenet.json").read_text(encoding="utf-8"))
    found = {"engine": "openvino", "processor": "x86-64-v4+amx_bf16", "parts": {"lgg": part(), "t1ce": part(auc=None)}}
    card = card_text(networks()["mobilenet"], figures | {"bfloat16": found})
    header, _, first, second = card.split("## In bfloat16\n")[1].split("\n## ")[0].strip().splitlines()[-4:]
    assert header == "| part | AUC | sensitivity | other findings | probability differs by |"
    said = "| {} | {} | 0.500 → 0.500 | 1 of 8 | ≤ 0.012, median 0.0004 |"
    assert first == said.format("LGG, composite of three sequences", "0.988 → 0.987")
    assert second == said.format("T1 after contrast", "–")
    assert "x86-64-v4+amx_bf16" in card
    assert "## In bfloat16" not in card_text(
        networks()["mobilenet"], {k: v for k, v in figures.items() if k != "bfloat16"}
    )


def test_float32_twice_is_no_comparison(tmp_path: Path) -> None:
    engine = choose("openvino", tmp_path)
    with pytest.raises(Broken) as refusal:
        compared(networks()["mobilenet"], open_weights("mobilenet"), tmp_path, engine, engine)
    assert refusal.value.code == Code.NO_ENGINE


@pytest.mark.slow
@pytest.mark.parametrize(("name", "figure"), [("mobilenet", "auc"), ("unet", "dice_mean")])
def test_the_same_pictures_are_judged_in_both(name: str, figure: str, tmp_path: Path) -> None:
    if not multiplies_bfloat16():
        pytest.skip("this processor does not multiply bfloat16")
    network, weights, data = networks()[name], open_weights(name), patients(tmp_path / "lgg", VALIDATION)
    exact = choose("openvino", load_settings().engines_folder)
    rounded = choose("openvino", load_settings().engines_folder, precision="bfloat16")
    parts = compared(network, weights, data, exact, rounded)["parts"]
    alone = evaluate(network, weights, data, rounded, VALIDATION).figures["parts"]
    assert set(parts) == {"lgg", "lgg-flair"}
    assert parts["lgg"]["bfloat16"][figure] == alone["lgg"][figure]
    if network.kind == "classifier":
        assert parts["lgg"]["pictures"] == 4
        assert 0 < parts["lgg"]["probability_differs"] < 0.1
