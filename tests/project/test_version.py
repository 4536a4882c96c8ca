"""The version stands once."""

from importlib.metadata import version

from neurobatch.version import VERSION
from tests.project.tree import ROOT, files


def test_both_distributions_have_the_one_version() -> None:
    assert (version("neurobatch"), version("neurobatch-server")) == (VERSION, VERSION)


def test_no_other_file_declares_it() -> None:
    declared = [
        path.relative_to(ROOT).as_posix()
        for path in files()
        if path.suffix in {".py", ".toml"} and "tests" not in path.parts and f'"{VERSION}"' in path.read_text()
    ]
    assert declared == ["client/neurobatch/version.py"]


def test_the_changelog_tells_of_it() -> None:
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text()
