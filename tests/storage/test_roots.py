"""Roots: what may be read, by name; and paths of any bytes as text."""

import json
import os
import pickle
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.errors import Broken, Refused
from neurobatch.records import RootSource
from neurobatch.settings import Settings
from storage.roots import Roots, path_bytes, path_text, relative_parts

raw_paths = st.binary(max_size=40).filter(lambda raw: b"\0" not in raw) | st.text(
    st.characters(min_codepoint=0xEF70, max_codepoint=0xF010), max_size=6
).map(lambda text: text.encode())


@given(raw_paths)
def test_a_path_of_any_bytes_becomes_text_that_json_holds_and_comes_back(raw: bytes) -> None:
    text = path_text(raw)
    assert path_bytes(text) == raw
    assert json.loads(json.dumps(text, ensure_ascii=False).encode()) == text


@given(raw_paths, raw_paths)
def test_two_paths_never_share_a_text(one: bytes, other: bytes) -> None:
    assert (path_text(one) == path_text(other)) is (one == other)


def test_names_that_are_utf8_stay_as_they_are() -> None:
    assert path_text("снимки/Жанна ☃.png".encode()) == "снимки/Жанна ☃.png"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a//b", ".", "a/./b", "a/"])
def test_a_path_that_is_absolute_or_climbs_is_refused(path: str) -> None:
    with pytest.raises(Refused) as refused:
        relative_parts(path)
    assert refused.value.code is Code.OUTSIDE_ROOTS


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_text_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        relative_parts(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "scans" / "study" / "deep").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"no")
    (tmp_path / "scans" / "study" / "a.png").write_bytes(b"x")
    (tmp_path / "scans" / "way-out").symlink_to(tmp_path / "secret")
    (tmp_path / "way-in").symlink_to(tmp_path / "scans")
    return tmp_path


def roots_of(tree: Path, **configured: str) -> Roots:
    return Roots(configured=configured, registry=tree / "home" / "roots.json")


def test_a_path_is_located_below_its_innermost_root(tree: Path) -> None:
    roots = roots_of(tree, outer=str(tree / "scans"), inner=(tree / "scans" / "study").as_uri())
    assert roots.locate(str(tree / "scans" / "study" / "a.png")) == RootSource(root="inner", path="a.png")
    assert roots.locate(str(tree / "scans" / "other")) == RootSource(root="outer", path="other")
    assert roots.locate(f"{tree}/scans/") == RootSource(root="outer")
    assert roots.locate((tree / "scans" / "study").as_uri()) == RootSource(root="inner")


def test_a_link_into_a_root_is_located_where_it_leads(tree: Path) -> None:
    roots = roots_of(tree, scans=str(tree / "scans"))
    assert roots.locate(str(tree / "way-in" / "study")) == RootSource(root="scans", path="study")


@pytest.mark.parametrize(
    "place",
    [
        "{tree}/secret/key",
        "{tree}/scans/../secret/key",
        "{tree}/scans/way-out/key",
        "{tree}/scansX",
        "etc",
        "",
    ],
)
def test_a_path_outside_of_all_roots_is_refused(tree: Path, place: str) -> None:
    roots = roots_of(tree, scans=str(tree / "scans"))
    with pytest.raises(Refused) as refused:
        roots.locate(place.format(tree=tree))
    assert refused.value.code is Code.OUTSIDE_ROOTS


def test_objects_are_located_below_their_prefix(tree: Path) -> None:
    roots = roots_of(tree, pacs="s3://hospital/mr", all="s3://hospital")
    assert roots.locate("s3://hospital/mr/2024/study.zip") == RootSource(root="pacs", path="2024/study.zip")
    assert roots.locate("s3://hospital/mrx/1") == RootSource(root="all", path="mrx/1")
    for outside in ("s3://hospital2/x", "s3://other", "s3://hospital/mr/../x"):
        with pytest.raises(Refused):
            roots.locate(outside)


def test_a_request_may_name_the_operators_roots_only(tree: Path) -> None:
    roots = roots_of(tree, scans=str(tree / "scans"))
    own = roots.register(tree / "secret")
    assert roots.resolve(own.root) == str(tree / "secret")
    assert roots.admit(RootSource(root="scans", path="study/")) == RootSource(root="scans", path="study")
    for source in (own, RootSource(root="none"), RootSource(root="scans", path="way-out/key")):
        with pytest.raises(Refused) as refused:
            roots.admit(source)
        assert refused.value.code is Code.OUTSIDE_ROOTS
    with pytest.raises(Refused):
        roots.locate(str(tree / "secret" / "key"))


def test_a_registered_path_is_found_by_other_processes_and_keeps_its_name(tree: Path) -> None:
    roots = roots_of(tree)
    worker: Roots = pickle.loads(pickle.dumps(roots))  # noqa: S301  our own bytes
    source = roots.register(tree / "scans")
    assert source == roots.register(tree / "scans" / "study" / "..")
    assert worker.resolve(source.root) == str(tree / "scans")
    assert source.root.startswith("path-")


def test_a_path_of_odd_bytes_can_be_registered(tree: Path) -> None:
    odd = os.fsencode(tree) + b"/\xff\xfe scans"
    os.mkdir(odd)  # noqa: PTH102  pathlib holds no bytes
    roots = roots_of(tree)
    assert path_bytes(roots.resolve(roots.register(Path(os.fsdecode(odd))).root)) == odd


def test_commands_that_register_at_once_lose_no_entry(tree: Path) -> None:
    roots = roots_of(tree)
    folders = [tree / f"f{n}" for n in range(16)]
    threads = [threading.Thread(target=roots.register, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {roots.resolve(roots.register(folder).root) for folder in folders} == {str(f) for f in folders}


def test_a_damaged_registry_is_told_and_not_overwritten(tree: Path) -> None:
    roots = roots_of(tree)
    roots.register(tree / "scans")
    (tree / "home" / "roots.json").write_text("{half")
    with pytest.raises(Broken):
        roots.register(tree / "secret")
    assert (tree / "home" / "roots.json").read_text() == "{half"


@pytest.mark.parametrize("roots", [{"Bad Name": "/x"}, {"relative": "x/y"}, {"web": "https://x/y"}])
def test_a_setting_that_can_be_no_root_is_refused_at_start(tmp_path: Path, roots: dict[str, str]) -> None:
    with pytest.raises(Broken) as broken:
        Roots.of(Settings(home=tmp_path, roots=roots))
    assert broken.value.code is Code.BAD_SETTING


def test_the_settings_roots_are_known(tmp_path: Path) -> None:
    roots = Roots.of(Settings(home=tmp_path, roots={"a": "/data", "b": "s3://bucket/x"}))
    assert (roots.resolve("a"), roots.resolve("b")) == ("/data", "s3://bucket/x")
    with pytest.raises(Refused):
        roots.resolve("c")
