"""Sources: listed in a stable order, read in place, never outside of their root."""

import hashlib
import inspect
import io
import os
import pickle
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.errors import LeftOut, ScanFailed
from neurobatch.records import FileRef, RootSource, Source, UploadSource
from neurobatch.settings import Settings
from pipeline.limits import Limits
from storage import names
from storage.memory import Memory
from storage.names import BatchKey, new_batch_id
from storage.objects import Objects
from storage.opening import open_store
from storage.roots import Roots, path_text
from worker.folders import Tree
from worker.sources import Entry, Fetched, Opened, Sources, SourcesConfig

KEY = BatchKey("t", new_batch_id())


def write(folder: Path, *paths: str, data: bytes = b"data") -> None:
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def sources_of(folder: Path, objects: Objects | None = None, **limits: int) -> Sources:
    config = SourcesConfig(
        store="memory://", roots=Roots(configured={"r": str(folder)}), limits=replace(Limits(), **limits)
    )
    return Sources(config, objects)


def content(sources: Sources, path: str = "", *, below: str = "") -> bytes:
    with sources.open(KEY, RootSource(root="r", path=below), path).stream as stream:
        return stream.read()


def listed(sources: Sources, path: str = "", after: str = "") -> list[str]:
    return [entry.path for entry in sources.list(KEY, RootSource(root="r", path=path), after)]


def ref_of(entry: Entry, source: int = 0, **more: object) -> FileRef:
    return FileRef(source=source, path=entry.path, size=entry.size, stamp=entry.stamp).model_copy(update=more)


def fetched(sources: Sources, refs: list[FileRef], *of: Source) -> dict[FileRef, Fetched]:
    return dict(sources.fetch(KEY, dict(enumerate(of or (RootSource(root="r"),))), refs))


def code_of(outcome: Fetched) -> Code:
    assert isinstance(outcome, ScanFailed)
    return outcome.code


# -- listing -------------------------------------------------------------------------------------------------


def test_files_are_listed_in_the_byte_order_of_their_paths(folder: Path) -> None:
    write(folder, "b", "a/z", "a.txt", "a-b/c", "a/b/c", "снимок.png", "A", "a0")
    assert listed(sources_of(folder)) == ["A", "a-b/c", "a.txt", "a/b/c", "a/z", "a0", "b", "снимок.png"]


names_of_files = st.lists(
    st.lists(st.text("ab.-/0é", min_size=1, max_size=3).filter(lambda n: "/" not in n and set(n) != {"."}),
             min_size=1, max_size=3).map("/".join),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip


@pytest.fixture(params=["small", "large"])
def folders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders whose names are listed anew for each page, and such whose names are kept."""
    if request.param == "large":
        monkeypatch.setattr("worker.folders.LARGE", 0)


@pytest.mark.usefixtures("folders")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=names_of_files, at=st.integers(0, 11))
def test_a_listing_goes_on_behind_any_of_its_files(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], at: int
) -> None:
    folder = tmp_path_factory.mktemp("listing")
    for path in paths:
        try:
            write(folder, path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue  # a file cannot be the folder of another
    sources = sources_of(folder)
    whole = listed(sources)
    assert whole == sorted(whole, key=str.encode)
    assert len(whole) == sum(1 for file in folder.rglob("*") if file.is_file())
    after = whole[at % len(whole)]
    assert listed(sources, after=after) == whole[at % len(whole) + 1 :]


@pytest.mark.usefixtures("folders")
def test_what_comes_and_goes_while_a_folder_is_listed_in_pages_is_seen(folder: Path) -> None:
    write(folder, "a", "b", "c", "d/e")
    sources = sources_of(folder)
    first = next(sources.list(KEY, RootSource(root="r")))
    assert first.path == "a"
    time.sleep(0.02)  # longer than a tick of the file system's clock
    write(folder, "b2")
    (folder / "c").unlink()
    assert listed(sources, after="a") == ["b", "b2", "d/e"]
    assert listed(sources) == ["a", "b", "b2", "d/e"]


def test_a_source_may_be_one_file_or_a_folder_below_the_root(folder: Path) -> None:
    write(folder, "study/series/1.dcm", "study/2.dcm", "other")
    sources = sources_of(folder)
    assert listed(sources, "study") == ["2.dcm", "series/1.dcm"]
    assert listed(sources, "study/2.dcm") == [""]
    assert content(sources, below="study/2.dcm") == b"data"


def test_a_root_that_is_itself_a_file_is_one_file(folder: Path) -> None:
    write(folder, "one.zip")
    sources = sources_of(folder / "one.zip")
    assert listed(sources) == [""]
    assert content(sources) == b"data"
    assert sources.shown(RootSource(root="r"), "", "in/a.png") == "one.zip/in/a.png"


def test_names_of_any_bytes_are_listed_and_opened(folder: Path) -> None:
    raw = os.fsencode(folder) + b"/\xffbad\n\xd0name"
    with open(raw, "wb") as file:  # noqa: PTH123  pathlib holds no bytes
        file.write(b"x")
    sources = sources_of(folder)
    (path,) = listed(sources)
    assert path == path_text(b"\xffbad\n\xd0name")
    assert content(sources, path) == b"x"


def test_folders_that_nest_deeper_than_calls_can_are_listed(folder: Path) -> None:
    deep = folder.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    write(deep, "f")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        (entry,) = sources_of(folder).list(KEY, RootSource(root="r"))
    finally:
        sys.setrecursionlimit(limit)
    assert entry.path == "d/" * 300 + "f"


@pytest.mark.parametrize("path", ["nothing", "file/below", "way-out/key"])
def test_a_source_that_cannot_be_had_says_why(folder: Path, path: str) -> None:
    write(folder, "file")
    write(folder.parent, "secret/key")
    (folder / "way-out").symlink_to(folder.parent / "secret")
    with pytest.raises(LeftOut) as left_out:
        listed(sources_of(folder), path)
    assert left_out.value.code is (Code.OUTSIDE_ROOTS if path == "way-out/key" else Code.SOURCE_MISSING)


def test_a_source_of_an_unknown_root_is_outside_of_all_roots(folder: Path) -> None:
    with pytest.raises(LeftOut) as left_out:
        list(sources_of(folder).list(KEY, RootSource(root="gone")))
    assert left_out.value.code is Code.OUTSIDE_ROOTS


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, who may read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_and_a_file_that_may_not_be_read_are_told() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write(folder, "a", "b", "shut/x", "z")
        (folder / "shut").chmod(0)
        (folder / "b").chmod(0)
        sources = sources_of(folder)
        with as_nobody():
            entries = list(sources.list(KEY, RootSource(root="r")))
            told = [(entry.path, entry.code) for entry in entries]
            outcome = fetched(sources, [ref_of(entries[1])])
        (folder / "shut").chmod(0o700)
    assert told == [("a", None), ("b", None), ("shut/", Code.UNREADABLE), ("z", None)]
    assert code_of(outcome[ref_of(entries[1])]) is Code.UNREADABLE


# -- links and special files ---------------------------------------------------------------------------------


def test_links_and_special_files_are_told_and_lead_nowhere(folder: Path) -> None:
    write(folder, "in/real")
    write(folder.parent, "secret/key", data=b"no")
    (folder / "1-inside").symlink_to("in/real")
    (folder / "2-outside").symlink_to(folder.parent / "secret" / "key")
    (folder / "3-folder").symlink_to("in")
    (folder / "4-dangling").symlink_to("nowhere")
    (folder / "5-loop").symlink_to("5-loop")
    os.mkfifo(folder / "6-pipe")
    entries = {entry.path: entry.code for entry in sources_of(folder).list(KEY, RootSource(root="r"))}
    unsafe = Code.UNSAFE_LINK
    assert entries == {
        "1-inside": None, "2-outside": unsafe, "3-folder": unsafe, "4-dangling": unsafe, "5-loop": unsafe,
        "6-pipe": unsafe, "in/real": None,
    }  # fmt: skip


def test_a_link_within_the_root_is_read_as_its_file(folder: Path) -> None:
    write(folder, "in/real", data=b"real")
    (folder / "link").symlink_to("in/real")
    sources = sources_of(folder)
    entry = next(entry for entry in sources.list(KEY, RootSource(root="r")) if entry.path == "link")
    assert list(fetched(sources, [ref_of(entry)]).values()) == [b"real"]


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_file_or_folder_that_was_swapped_for_a_link_out_is_not_read(folder: Path, swapped: str) -> None:
    write(folder, "sub/key", data=b"ours")
    write(folder.parent, "secret/key", data=b"no")
    sources = sources_of(folder)
    (entry,) = sources.list(KEY, RootSource(root="r"))
    (folder / "sub" / "key").unlink()
    if swapped == "file":
        (folder / "sub" / "key").symlink_to(folder.parent / "secret" / "key")
    else:
        (folder / "sub").rmdir()
        (folder / "sub").symlink_to(folder.parent / "secret")
    assert code_of(fetched(sources, [ref_of(entry)])[ref_of(entry)]) is Code.SOURCE_CHANGED


def test_a_file_that_became_a_pipe_does_not_hang_the_reader(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    ref = FileRef(source=0, path="pipe", size=1, stamp="1")
    assert code_of(fetched(sources_of(folder), [ref])[ref]) is Code.SOURCE_CHANGED


@pytest.mark.parametrize("path", ["../secret/key", "/etc/passwd", "a/../../secret/key"])
def test_no_path_leads_out_of_the_root(folder: Path, path: str) -> None:
    write(folder.parent, "secret/key", data=b"no")
    ref = FileRef(source=0, path=path, size=2, stamp="1")
    assert code_of(fetched(sources_of(folder), [ref])[ref]) is Code.SOURCE_MISSING
    with pytest.raises(ScanFailed):
        Tree(os.fsencode(folder), "").open(path)


# -- reading what was planned --------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["content", "time", "gone", "grown"])
def test_a_file_that_changed_after_it_was_planned_is_not_read(folder: Path, change: str) -> None:
    write(folder, "a", "b")
    sources = sources_of(folder)
    entries = list(sources.list(KEY, RootSource(root="r")))
    changes: dict[str, Callable[[], None]] = {
        "content": lambda: os.utime(folder / "a", ns=(1, 1)),
        "time": lambda: os.utime(folder / "a", ns=(5, int(entries[0].stamp) + 1)),
        "gone": (folder / "a").unlink,
        "grown": lambda: write(folder, "a", data=b"longer data"),
    }
    changes[change]()
    outcome = fetched(sources, [ref_of(entry) for entry in entries])
    assert code_of(outcome[ref_of(entries[0])]) is (Code.SOURCE_MISSING if change == "gone" else Code.SOURCE_CHANGED)
    assert outcome[ref_of(entries[1])] == b"data"


def test_a_file_that_grew_within_one_tick_of_the_clock_is_seen(folder: Path) -> None:
    write(folder, "a")
    sources = sources_of(folder)
    (entry,) = sources.list(KEY, RootSource(root="r"))
    write(folder, "a", data=b"data+")
    os.utime(folder / "a", ns=(1, int(entry.stamp)))
    assert code_of(fetched(sources, [ref_of(entry)])[ref_of(entry)]) is Code.SOURCE_CHANGED


def test_a_file_beyond_the_limit_is_not_read(folder: Path) -> None:
    write(folder, "a")
    sources = sources_of(folder, file_bytes=3)
    (entry,) = sources.list(KEY, RootSource(root="r"))
    assert code_of(fetched(sources, [ref_of(entry)])[ref_of(entry)]) is Code.OUT_OF_MEMORY


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


MEMBERS = {f"in/{n}.png": f"picture {n}".encode() for n in range(5)}


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_is_opened_once_for_all_its_members(
    folder: Path, pack: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "a.arc", data=pack(MEMBERS))
    sources = sources_of(folder)
    (entry,) = sources.list(KEY, RootSource(root="r"))
    names_in_order = list(MEMBERS)
    refs = [ref_of(entry, member=n, name=names_in_order[n], size=len(MEMBERS[names_in_order[n]])) for n in (3, 0, 4)]
    opened: list[str] = []

    def counted(self: Tree, path: str, buffer: int) -> Opened:
        opened.append(path)
        return inner(self, path, buffer)

    inner = Tree.open
    monkeypatch.setattr(Tree, "open", counted)
    outcome = fetched(sources, refs)
    assert {ref.name: data for ref, data in outcome.items()} == {ref.name: MEMBERS[ref.name] for ref in refs}
    assert opened == ["a.arc"]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_that_is_another_than_planned_is_told_and_the_rest_is_read(
    folder: Path, pack: Callable[..., bytes]
) -> None:
    write(folder, "a.arc", data=pack(MEMBERS))
    sources = sources_of(folder)
    (entry,) = sources.list(KEY, RootSource(root="r"))
    good = ref_of(entry, member=1, name="in/1.png", size=9)
    wrong = ref_of(entry, member=0, name="in/other.png", size=9)
    short = ref_of(entry, member=2, name="in/2.png", size=5)
    beyond = ref_of(entry, member=77, name="x", size=9)
    outcome = fetched(sources, [good, wrong, short, beyond])
    assert outcome[good] == b"picture 1"
    assert {code_of(outcome[ref]) for ref in (wrong, short, beyond)} == {Code.SOURCE_CHANGED}


def test_a_damaged_member_of_a_zip_does_not_end_the_others(folder: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    write(folder, "a.zip", data=out.getvalue().replace(b"picture 1", b"pictXre 1"))
    sources = sources_of(folder)
    (entry,) = sources.list(KEY, RootSource(root="r"))
    refs = [ref_of(entry, member=n, name=name, size=len(data)) for n, (name, data) in enumerate(MEMBERS.items())]
    outcome = fetched(sources, refs)
    assert code_of(outcome[refs[1]]) is Code.ARCHIVE_DAMAGED
    assert [outcome[ref] for ref in refs if ref.member != 1] == [d for n, d in MEMBERS.items() if n != "in/1.png"]


# -- uploads and buckets -------------------------------------------------------------------------------------


def uploaded(objects: Objects, data: bytes, number: int = 0) -> UploadSource:
    objects.put(names.upload(KEY, number), data)
    return UploadSource(number=number, name="снимки/a.png", size=len(data), sha256=hashlib.sha256(data).hexdigest())


def test_an_upload_is_one_file_and_checked_by_its_digest(folder: Path) -> None:
    objects = Memory()
    source = uploaded(objects, b"picture")
    sources = sources_of(folder, objects)
    (entry,) = sources.list(KEY, source)
    assert (entry.path, entry.size, entry.stamp) == ("", 7, source.sha256)
    assert fetched(sources, [ref_of(entry)], source) == {ref_of(entry): b"picture"}
    objects.put(names.upload(KEY, 0), b"Picture")
    assert code_of(fetched(sources, [ref_of(entry)], source)[ref_of(entry)]) is Code.SOURCE_CHANGED
    objects.delete([names.upload(KEY, 0)])
    assert code_of(fetched(sources, [ref_of(entry)], source)[ref_of(entry)]) is Code.SOURCE_MISSING


def test_members_of_an_uploaded_archive_are_read_by_ranges(folder: Path) -> None:
    objects = Memory()
    source = uploaded(objects, zipped(MEMBERS))
    sources = sources_of(folder, objects)
    (entry,) = sources.list(KEY, source)
    ref = ref_of(entry, member=2, name="in/2.png", size=9)
    assert fetched(sources, [ref], source) == {ref: b"picture 2"}
    assert sources.shown(source, "", "in/2.png") == "снимки/a.png/in/2.png"


@dataclass(frozen=True)
class Bucket:
    """A bucket root on a real S3 server."""

    objects: Objects
    sources: Sources


@pytest.fixture
def bucket(seaweed_place: Any) -> Bucket:
    config = SourcesConfig(
        store="memory://", s3=seaweed_place.options, roots=Roots(configured={"r": seaweed_place.url})
    )
    return Bucket(open_store(seaweed_place.url, seaweed_place.options), Sources(config))


def test_a_bucket_is_listed_like_a_folder(bucket: Bucket) -> None:
    for name in ("b", "a/z", "a.txt", "a-b/c", "a/b/c"):
        bucket.objects.put(name, b"data")
    whole = listed(bucket.sources)
    assert sorted(whole) == ["a-b/c", "a.txt", "a/b/c", "a/z", "b"]
    rest = {name: listed(bucket.sources, after=name) for name in whole}
    assert rest == {name: whole[at + 1 :] for at, name in enumerate(whole)}
    assert listed(bucket.sources, "a") == ["b/c", "z"]
    assert listed(bucket.sources, "a", "b/c") == ["z"]
    assert listed(bucket.sources, "a/z") == [""]
    for path in ("nothing", "../up", "a//b"):
        with pytest.raises(LeftOut) as left_out:
            listed(bucket.sources, path)
        assert left_out.value.code is Code.SOURCE_MISSING


def test_an_object_that_changed_after_it_was_planned_is_not_read(bucket: Bucket) -> None:
    for name in ("a", "b", "c"):
        bucket.objects.put(name, name.encode())
    entries = list(bucket.sources.list(KEY, RootSource(root="r")))
    bucket.objects.put("a", b"A")
    bucket.objects.delete(["b"])
    outcome = fetched(bucket.sources, [ref_of(entry) for entry in entries])
    changed, gone, same = (outcome[ref_of(entry)] for entry in entries)
    assert (code_of(changed), code_of(gone), same) == (Code.SOURCE_CHANGED, Code.SOURCE_MISSING, b"c")


def test_members_of_an_archive_in_a_bucket_are_read_by_ranges(bucket: Bucket) -> None:
    bucket.objects.put("all.zip", zipped(MEMBERS))
    (entry,) = bucket.sources.list(KEY, RootSource(root="r"))
    refs = [ref_of(entry, member=n, name=f"in/{n}.png", size=9) for n in (4, 1)]
    assert fetched(bucket.sources, refs) == {refs[0]: b"picture 4", refs[1]: b"picture 1"}


def test_the_configuration_travels_to_a_child_and_hides_its_secrets(tmp_path: Path) -> None:
    config = SourcesConfig.of(
        Settings(home=tmp_path, s3_access_key="me", s3_secret_key="hush", roots={"r": "/data"})  # type: ignore[arg-type]
    )
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301  our own bytes
    assert config.s3.secret_key == "hush"
    assert "hush" not in repr(config)
