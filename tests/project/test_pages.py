"""The documents say what the code says."""

import json
from pathlib import Path

import pytest

from docs import pages, speed
from docs.figures import BEGIN, CARDS, END, filled
from neurobatch.codes import Code
from neurobatch.settings import Settings


def test_the_pages_are_what_the_code_says() -> None:
    assert pages.stale() == []


def test_every_code_and_setting_is_on_its_page() -> None:
    assert [code for code in Code if f"| `{code}` | {code.sentence} |" not in pages.codes_page()] == []
    rows = pages.settings_page()
    assert [name for name in Settings.model_fields if f"| `NEUROBATCH_{name.upper()}` |" not in rows] == []


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_stale_page_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pages, "HERE", tmp_path)
    monkeypatch.setattr(pages, "README", tmp_path / "README.md")
    (tmp_path / "schemas").mkdir()
    (tmp_path / "README.md").write_text(f"before {BEGIN}{END} after")
    assert pages.main([]) == 0
    (tmp_path / "codes.md").write_text("old")
    assert pages.main(["--check"]) == 1
    assert capsys.readouterr().err == "codes.md is stale: run `python docs/pages.py`\n"


def test_the_figures_of_the_readme_are_those_of_the_cards() -> None:
    page = filled(f"before {BEGIN} old {END} after")
    assert page.startswith(f"before {BEGIN}\n")
    assert page.endswith(f"\n{END} after")
    card = json.loads((CARDS / "mobilenet.json").read_text())
    assert f"| {card['parts']['lgg']['auc']:.2f} [" in page
    assert " old " not in page


def test_the_readme_tells_speed_as_it_was_measured(tmp_path: Path) -> None:
    for file in speed.REPORTS.glob("throughput.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    rows = json.loads((speed.REPORTS / "throughput.json").read_text())["rows"]
    assert all(f"| {row['name']} |" in speed.speed(tmp_path) for row in rows)
    assert "(`bench limit`)" not in speed.speed(tmp_path)  # what was not measured is not told
    assert speed.filled("a page without figures") == "a page without figures"
