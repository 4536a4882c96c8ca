"""The lock agrees with what both distributions ask for, and names no host."""

from pathlib import Path

import pytest

from requirements import lock


@pytest.mark.parametrize("which", lock.LOCKS, ids=lambda one: one.file)
def test_the_lock_agrees_with_both_pyprojects(which: lock.Lock) -> None:
    assert lock.faults(which) == []


def test_a_new_dependency_is_missed_in_an_old_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "pyproject.toml"
    changed.write_text(lock.PROJECTS[1].read_text().replace('"boto3>=', '"something-else", "boto3>='))
    monkeypatch.setattr(lock, "PROJECTS", (lock.PROJECTS[0], changed))
    assert lock.faults(lock.LOCKS[0]) == [
        "was made from other requirements: run `make lock`",
        "holds nothing for something-else",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("--index-url https://wheels.example/simple\n", "names a host"),
        ("colorama==0.4.6\n", "colorama==0.4.6 has no digest"),
    ],
)
def test_a_host_or_a_missing_digest_is_a_fault(
    line: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.txt").write_text((lock.HERE / "run.txt").read_text() + line)
    monkeypatch.setattr(lock, "HERE", tmp_path)
    assert fault in lock.faults(lock.LOCKS[0])


def test_no_package_has_two_versions_in_two_locks() -> None:
    everything = set(pins(lock.HERE / "run.txt"))
    assert set(pins(lock.HERE / "api.txt")) - everything == set()
    assert everything - set(pins(lock.HERE / "gpu.txt")) == set()
    assert everything - set(pins(lock.HERE / "dev.txt")) == set()
    beside = {pin.partition(" ;")[0] for pin in pins(lock.HERE / "peers.txt")}
    versions = {pin.partition(" ;")[0] for pin in everything}
    shared = {pin.partition("==")[0] for pin in versions}
    assert {pin for pin in beside if pin.partition("==")[0] in shared} - versions == set()


def test_the_image_of_the_api_holds_no_heavy_library() -> None:
    names = {pin.partition("==")[0] for pin in pins(lock.HERE / "api.txt")}
    assert names & {"tensorflow", "keras", "numpy", "opencv-python-headless", "openvino", "pydicom", "pillow"} == set()


def pins(path: Path) -> list[str]:
    return [line.rstrip(" \\") for line in path.read_text().splitlines() if lock.PIN.match(line)]
