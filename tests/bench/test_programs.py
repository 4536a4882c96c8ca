"""Programs that are measured answer line by line, and say why when they die."""

import sys
from pathlib import Path

import pytest

from bench.asking import Program
from bench.served import environment
from neurobatch.errors import Broken
from neurobatch.settings import load_settings

ECHO = "from bench.asking import answer\nprint('noise')\nanswer(lambda: lambda **said: (print('more'), said)[1])"


def test_a_program_answers_what_it_is_asked_whatever_it_prints() -> None:
    with Program([sys.executable, "-c", ECHO.replace("print('noise')\n", "")]) as program:
        assert program.ask(a=1) == {"a": 1}
        assert program.ask(b=[2, 3]) == {"b": [2, 3]}


def test_a_program_that_dies_says_why() -> None:
    with (
        Program([sys.executable, "-c", "raise SystemExit('the reason')"]) as program,
        pytest.raises(Broken, match="the reason"),
    ):
        program.ask()


def test_a_users_settings_stay_out_of_a_measurement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEUROBATCH_STORE", "s3://bucket")
    with environment({"home": str(tmp_path)}):
        assert load_settings().store_url == (tmp_path / "store").as_uri()
    assert load_settings().store == "s3://bucket"
