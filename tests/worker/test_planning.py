"""Planning: every file ends in exactly one scan or one left-out line, whoever plans, dies or plans twice."""

import hashlib
import multiprocessing
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.errors import Broken, ScanFailed, Unavailable
from neurobatch.records import Page, PlanEnd, RootSource, ScanKind, UploadSource
from pipeline.read.sort import describe
from storage import names
from storage.names import PAGE_SPAN, BatchKey, new_batch_id, page_of_scan, page_of_shard
from tests.pipeline.inputs import dicom, dicom_series, nifti, picture, ramp, tarred, zipped
from tests.worker.planned import NOW, Bench
from worker import drafting
from worker.pages import PageLimits, PageTask, common_path
from worker.planning import Step, last_page

PNG = picture(ramp().astype(np.uint8))
NOISE = [picture(np.random.default_rng(k).integers(0, 255, (60, 60), np.uint8)) for k in range(3)]
NIFTI = nifti(np.arange(24 * 24 * 5, dtype=np.int16).reshape(24, 24, 5))
SERIES = {number: dicom_series(4, series=number) for number in range(1, 6)}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def encrypted(members: dict[str, bytes]) -> bytes:
    """A zip whose members say that they are protected by a password."""
    data = bytearray(zipped(members))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(magic)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(magic, at + 4)
    return bytes(data)


# -- one of each kind --------------------------------------------------------------------------------------------


def test_pictures_series_and_volumes_become_scans(bench: Bench) -> None:
    bench.write("a/head.png", PNG)
    bench.write("volume.nii", NIFTI)
    for number, data in enumerate(SERIES[1]):
        bench.write(f"dicom/{number % 2}/IM{number}", data)
    key = bench.accept()
    bench.plan(key)
    scans = {scan.path: scan for scan in bench.scans(key)}
    assert {path: scan.kind for path, scan in scans.items()} == {
        "a/head.png": ScanKind.PICTURE, "volume.nii": ScanKind.NIFTI, "dicom": ScanKind.DICOM,
    }  # fmt: skip
    series = scans["dicom"]
    assert [file.path for file in series.files] == ["dicom/0/IM0", "dicom/1/IM1", "dicom/0/IM2", "dicom/1/IM3"]
    assert (series.slices, series.series_uid is not None, scans["volume.nii"].slices) == (4, True, 5)
    assert bench.left_out(key) == {}
    assert bench.ledger.plan_end(key) == PlanEnd(pages=2)


def test_what_is_no_scan_is_left_out_with_its_code(bench: Bench) -> None:
    bench.write("empty.png", b"")
    bench.write("text.png", b"this is no picture")
    bench.write(".hidden/x.png", PNG)
    bench.write("Thumbs.db", b"x")
    bench.write("ct.dcm", dicom(Modality="CT"))
    bench.write("locked.zip", encrypted({"in.png": PNG}))
    bench.write("cut.zip", zipped({"in.png": PNG})[:-40])
    bench.write("void.zip", zipped({}))
    bench.write("nest.zip", zipped({"../up.png": PNG, "inner.zip": zipped({"x": b"y"}), "снимок.png": PNG, "0": b""}))
    bench.write("odd.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100))
    (bench.root / "link.png").symlink_to("/etc/hostname")
    key = bench.accept()
    bench.plan(key)
    assert bench.left_out(key) == {
        "empty.png": Code.EMPTY_FILE, "text.png": Code.NOT_A_SCAN, ".hidden/x.png": Code.HIDDEN_FILE,
        "Thumbs.db": Code.HIDDEN_FILE, "ct.dcm": Code.NOT_MR, "locked.zip/in.png": Code.ARCHIVE_ENCRYPTED,
        "cut.zip": Code.ARCHIVE_DAMAGED, "void.zip": Code.NOT_A_SCAN, "nest.zip/../up.png": Code.UNSAFE_NAME,
        "nest.zip/inner.zip": Code.ARCHIVE_NESTED, "nest.zip/0": Code.EMPTY_FILE,
        "odd.7z": Code.UNSUPPORTED_ARCHIVE, "link.png": Code.UNSAFE_LINK,
    }  # fmt: skip
    assert [scan.path for scan in bench.scans(key)] == ["nest.zip/снимок.png"]


def test_a_damaged_picture_is_a_scan_that_will_fail(bench: Bench) -> None:
    bench.write("broken.png", PNG[:60])
    key = bench.accept()
    bench.plan(key)
    assert [scan.path for scan in bench.scans(key)] == ["broken.png"]


def test_the_same_picture_twice_is_two_scans_and_the_same_instance_twice_one_scan(bench: Bench) -> None:
    bench.write("1.png", PNG)
    bench.write("2.png", PNG)
    for folder in ("a", "b"):
        for number, data in enumerate(SERIES[1]):
            bench.write(f"{folder}/{number}", data)
    key = bench.accept()
    bench.plan(key)
    assert sorted((scan.path, len(scan.files)) for scan in bench.scans(key)) == [("1.png", 1), ("2.png", 1), ("a", 4)]
    assert bench.left_out(key) == {f"b/{number}": Code.DUPLICATE_INSTANCE for number in range(4)}


def test_volumes_at_one_position_are_scans_of_their_own(bench: Bench) -> None:
    for echo in (1, 2):
        for number in range(4):
            uid = f"1.2.3.{echo}.{number}"
            data = dicom(1, number, (0.0, 0.0, 3.0 * number), SOPInstanceUID=uid, EchoTime=10.0 * echo)
            bench.write(f"{echo}/{number}", data)
    key = bench.accept()
    bench.plan(key)
    assert [(scan.part, len(scan.files)) for scan in bench.scans(key)] == [(0, 4), (1, 4)]
    assert len({scan.id for scan in bench.scans(key)}) == 2


def test_a_series_in_an_archive_and_in_folders_is_one_scan(bench: Bench) -> None:
    bench.write("loose/0", SERIES[1][0])
    bench.write("study.zip", zipped({"deep/1": SERIES[1][1]}))
    bench.write("study.tar.gz", tarred({"deep/2": SERIES[1][2], "deep/3": SERIES[1][3]}, "w:gz"))
    key = bench.accept()
    bench.plan(key)
    (scan,) = bench.scans(key)
    assert [(file.path, file.member, file.name) for file in scan.files] == [
        ("loose/0", None, ""), ("study.zip", 0, "deep/1"), ("study.tar.gz", 0, "deep/2"), ("study.tar.gz", 1, "deep/3"),
    ]  # fmt: skip


def test_uploads_are_planned_with_their_own_names(bench: Bench) -> None:
    key = bench.accept()
    sources = []
    for number, (name, data) in enumerate({"снимки/1.png": PNG, "all.zip": zipped({"x/2.png": PNG})}.items()):
        bench.ledger.objects.put(names.upload(key, number), data)
        digest = hashlib.sha256(data).hexdigest()
        sources.append(UploadSource(number=number, name=name, size=len(data), sha256=digest))
    other = bench.accept(*sources)
    for number, source in enumerate(sources):
        stream = bench.ledger.objects.get(names.upload(key, number))
        bench.ledger.objects.put(names.upload(other, source.number), stream)
    bench.plan(other)
    scans = bench.scans(other)
    assert [scan.path for scan in scans] == ["снимки/1.png", "all.zip/x/2.png"]
    assert [scan.files[0].stamp for scan in scans] == [source.sha256 for source in sources]


def test_a_batch_with_no_scan_is_planned_all_the_same(bench: Bench) -> None:
    key = bench.accept()
    steps = bench.plan(key)
    assert steps == [Step(page=bench.pages(key)[0], ended=True)]
    assert bench.ledger.plan_end(key) == PlanEnd(pages=1)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (RootSource(root="r", path="nothing"), Code.SOURCE_MISSING),
        (RootSource(root="gone"), Code.OUTSIDE_ROOTS),
    ],
)
def test_a_batch_whose_sources_cannot_be_had_fails(bench: Bench, source: RootSource, code: Code) -> None:
    key = bench.accept(source, source)
    bench.plan(key)
    end = bench.ledger.plan_end(key)
    assert end is not None
    assert (end.outcome, end.code) == ("failed", code)


def test_a_source_that_cannot_be_had_ends_no_other(bench: Bench) -> None:
    bench.write("a.png", PNG)
    key = bench.accept(RootSource(root="r", path="nothing"), RootSource(root="r", path="a.png"))
    bench.plan(key)
    assert bench.ledger.plan_end(key) == PlanEnd(pages=1)
    assert [scan.path for scan in bench.scans(key)] == ["a.png"]
    assert bench.left_out(key) == {"nothing": Code.SOURCE_MISSING}


# -- pages and shards --------------------------------------------------------------------------------------------


def test_shards_hold_at_most_64_scans_or_the_slices_asked_for_and_larger_scans_are_alone(bench: Bench) -> None:
    for number in range(70):
        bench.write(f"p{number:03}.png", PNG)
    for number in range(3):
        bench.write(f"q{number}.nii", NIFTI)
    bench.write("r.nii", nifti(np.ones((24, 24, 9), np.int16)))
    key = bench.accept(slices_per_shard=8)
    bench.plan(key)
    shards = [[scan.slices for scan in shard.scans] for page in bench.pages(key) for shard in page.shards]
    assert [len(shard) for shard in shards[:8]] == [8] * 8
    assert shards[8:] == [[1] * 6, [5], [5], [5], [9]]
    other = bench.accept(slices_per_shard=512)
    bench.plan(other)
    assert [len(shard.scans) for page in bench.pages(other) for shard in page.shards] == [64, 10]


def test_numbers_of_scans_and_shards_tell_their_page(bench: Bench) -> None:
    for number in range(25):
        bench.write(f"{number:02}.png", PNG)
    key = bench.accept()
    bench.plan(key, limits=PageLimits(scans=10, shard_scans=3))
    pages = bench.pages(key)
    assert [sum(len(shard.scans) for shard in page.shards) for page in pages] == [10, 10, 5]
    for page in pages:
        assert [shard.number for shard in page.shards] == [page.number * PAGE_SPAN + n for n in range(len(page.shards))]
        for shard in page.shards:
            assert {page_of_shard(shard.number)} | {page_of_scan(scan.id) for scan in shard.scans} == {page.number}
    assert len({scan.id for scan in bench.scans(key)}) == 25


def test_a_series_with_more_files_than_the_limit_is_left_out_in_stretches(bench: Bench) -> None:
    for number in range(11):
        bench.write(f"a/{number:02}", dicom(1, number, (0, 0, number)))
    for number, data in enumerate(SERIES[2]):
        bench.write(f"b/{number}", data)
    limits = bench.config.limits
    object.__setattr__(bench.config, "limits", type(limits)(series_files=10))
    key = bench.accept()
    bench.plan(key, limits=PageLimits(files=4))
    assert [scan.path for scan in bench.scans(key)] == ["b"]
    assert bench.left_out(key) == {f"a/{number:02}": Code.SERIES_TOO_LARGE for number in range(11)}
    assert max(page.left_out.lines for page in bench.pages(key) if page.left_out) == 4
    assert list((bench.folder / "scratch").iterdir()) == []


def test_the_folder_option_gives_scans_before_the_listing_ends(bench: Bench) -> None:
    for series in (1, 2):
        for number, data in enumerate(SERIES[series]):
            bench.write(f"s{series}/{number}", data)
    bench.write("s3/1.png", PNG)
    key = bench.accept(series="folder")
    bench.plan(key)
    (page,) = bench.pages(key)
    assert [scan.path for shard in page.shards for scan in shard.scans] == ["s1", "s3/1.png", "s2"] or [
        scan.path for shard in page.shards for scan in shard.scans
    ] == ["s1", "s2", "s3/1.png"]
    assert page.members is None


def test_a_folder_that_a_page_cuts_through_stays_one_scan(bench: Bench) -> None:
    for series in (1, 2, 3):
        for number, data in enumerate(SERIES[series]):
            bench.write(f"s{series}/{number}", data)
    key = bench.accept(series="folder")
    bench.plan(key, limits=PageLimits(files=3))
    assert sorted((scan.path, len(scan.files)) for scan in bench.scans(key)) == [("s1", 4), ("s2", 4), ("s3", 4)]


# -- every file, whatever the pages ------------------------------------------------------------------------------

KINDS: dict[str, Callable[[int], bytes]] = {
    "png": lambda n: PNG,
    "nii": lambda n: NIFTI,
    "dcm": lambda n: SERIES[1 + n % 5][n % 4],
    "txt": lambda n: b"words",
    "empty": lambda n: b"",
    "zip": lambda n: zipped({f"d{k % 2}/{k}": SERIES[1 + n % 5][k] for k in range(n % 5)} | {"p.png": PNG}),
    "tgz": lambda n: tarred({f"d{k % 2}/{k}.x": [PNG, b"words", SERIES[2][k]][k % 3] for k in range(n % 4)}, "w:gz"),
    "cut": lambda n: tarred(dict(zip(("a.png", "b.png", "c/d.png"), NOISE, strict=True)), "w:gz")[: 4000 + 200 * n],
}

trees = st.dictionaries(
    st.tuples(st.sampled_from(["", "a/", "a/b/", "a-b/", "c/", "ж/"]), st.integers(0, 30)),
    st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 30)),
    min_size=1,
    max_size=14,
)
page_limits = st.builds(PageLimits, scans=st.integers(1, 6), files=st.integers(1, 7), shard_scans=st.integers(1, 4))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, limits=page_limits, series=st.sampled_from(["uid", "folder"]))
def test_every_file_ends_in_one_scan_or_one_left_out_line(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[Any, Any], limits: PageLimits, series: str
) -> None:
    bench = Bench(tmp_path_factory.mktemp("plan"))
    expected: Counter[str] = Counter()
    for (folder, number), (kind, n) in tree.items():
        path, data = f"{folder}{number}.{kind}", KINDS[kind](n)
        bench.write(path, data)
        if kind == "zip":
            expected.update(f"{path}/{name}" for name in zipfile.ZipFile(BytesIO(data)).namelist())
        elif kind == "tgz":
            inside = n % 4
            expected.update([f"{path}/d{k % 2}/{k}.x" for k in range(inside)] or [path])
        else:
            expected[path] += 1  # of an archive that is cut, the archive itself
    key = bench.accept(series=series)
    bench.plan(key, limits=limits)
    ends = Counter(bench.ends(key))
    inside = {end: ends.pop(end) for end in list(ends) if ".cut/" in end}  # what came before the cut
    assert ends == expected
    assert set(inside.values()) <= {1}
    pages = bench.pages(key)
    assert all(sum(len(shard.scans) for shard in page.shards) <= limits.scans for page in pages)
    assert len({scan.id for scan in bench.scans(key)}) == len(bench.scans(key))
    assert sum(page.files for page in pages) == len(bench.ends(key))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, limits=page_limits, deaths=st.lists(st.integers(0, 3), max_size=8))
def test_planners_that_die_or_plan_twice_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[Any, Any], limits: PageLimits, deaths: list[int]
) -> None:
    bench = Bench(tmp_path_factory.mktemp("plan"))
    for (folder, number), (kind, n) in tree.items():
        bench.write(f"{folder}{number}.{kind}", KINDS[kind](n))
    calm, rough = bench.accept(), bench.accept()
    bench.plan(calm, limits=limits)
    turns = iter(deaths)

    def troubled(function: Callable[..., Page], task: PageTask, *, seconds: float) -> Page:
        page = function(task)
        turn = next(turns, 0)
        if turn == 1:
            raise Unavailable(Code.STORE_UNAVAILABLE)  # it died after it drafted, before it committed
        if turn == 2:
            bench.ledger.put_page(task.key, page)  # it died after it committed
            raise Unavailable(Code.STORE_UNAVAILABLE)
        if turn == 3:
            bench.planner(limits=limits).step(task.key)  # another planner was faster
        return page

    step = Step(plan=True)
    while step.plan:
        try:
            step = bench.planner(limits=limits, call=troubled).step(rough)
        except Unavailable:
            continue
    assert bench.pages(rough) == bench.pages(calm)


# -- what kills a child ------------------------------------------------------------------------------------------


def in_a_process(lethal: str) -> Callable[..., Page]:
    """Calls in a process of its own, which dies when it looks at a file of this name."""
    context = multiprocessing.get_context("fork")

    def work(function: Callable[..., Page], task: PageTask, pipe: Any) -> None:
        def deadly(kind: Any, name: str, *rest: Any) -> Any:
            if lethal in name:
                os._exit(9)
            return describe(kind, name, *rest)

        pytest.MonkeyPatch().setattr(drafting, "describe", deadly)
        pipe.send(function(task))

    def call(function: Callable[..., Page], task: PageTask, *, seconds: float) -> Page:
        ours, theirs = context.Pipe()
        child = context.Process(target=work, args=(function, task, theirs))
        child.start()
        theirs.close()
        try:
            page: Page = ours.recv()
        except EOFError:
            raise ScanFailed(Code.CRASHED) from None
        finally:
            child.join(seconds)
        return page

    return call


def test_files_that_kill_the_planner_are_left_out_and_the_rest_is_planned(bench: Bench) -> None:
    bench.write("a.png", PNG)
    bench.write("b-lethal.png", PNG)
    bench.write("c.zip", zipped({"1.png": PNG, "2-lethal.png": PNG, "3.png": PNG}))
    bench.write("d.png", PNG)
    key = bench.accept()
    bench.plan(key, call=in_a_process("lethal"))
    assert [scan.path for scan in bench.scans(key)] == ["a.png", "c.zip/1.png", "c.zip/3.png", "d.png"]
    assert bench.left_out(key) == {"b-lethal.png": Code.CRASHED, "c.zip/2-lethal.png": Code.CRASHED}


def test_one_death_alone_blames_no_file(bench: Bench) -> None:
    bench.write("a.png", PNG)
    key = bench.accept()
    deaths = iter([ScanFailed(Code.OUT_OF_MEMORY)])

    def once(function: Callable[..., Page], task: PageTask, *, seconds: float) -> Page:
        page = function(task)
        for death in deaths:
            raise death
        return page

    bench.plan(key, call=once)
    assert [scan.path for scan in bench.scans(key)] == ["a.png"]


def test_a_plan_that_kills_its_planner_for_no_file_is_given_up(bench: Bench) -> None:
    key = bench.accept()

    def dies(function: Callable[..., Page], task: PageTask, *, seconds: float) -> Page:
        raise ScanFailed(Code.CRASHED)

    assert bench.plan(key, call=dies) == [Step(ended=True)]
    assert bench.ledger.plan_end(key) == PlanEnd(pages=0, outcome="failed", code=Code.PLANNING_FAILED)


def test_a_planner_without_room_for_its_own_files_ends_no_batch(bench: Bench) -> None:
    key = bench.accept()

    def without_folder(function: Callable[..., Page], task: PageTask, *, seconds: float) -> Page:
        return function(replace(task, note=bench.folder / "gone" / "note"))

    with pytest.raises(Broken):
        bench.planner(call=without_folder).step(key)
    assert bench.ledger.plan_end(key) is None
    assert bench.plan(key)[-1].ended


# -- wishes ------------------------------------------------------------------------------------------------------


def test_a_cancelled_or_ended_batch_is_planned_no_further(bench: Bench) -> None:
    bench.write("a.png", PNG)
    key = bench.accept()
    bench.ledger.wish_cancel(key, NOW)
    assert bench.plan(key) == [Step(wish=True)]
    assert bench.pages(key) == []


def test_a_page_that_comes_after_the_plan_was_ended_rings_no_shard(bench: Bench) -> None:
    for number in range(4):
        bench.write(f"{number}.png", PNG)
    key = bench.accept()

    def late(function: Callable[..., Page], task: PageTask, *, seconds: float) -> Page:
        page = function(task)
        bench.ledger.end_plan(key, PlanEnd(pages=0, outcome="cancelled"))
        return page

    assert bench.planner(limits=PageLimits(scans=2), call=late).step(key) == Step(ended=True)


def test_a_batch_that_is_not_there_asks_for_nothing(bench: Bench) -> None:
    assert bench.planner().step(BatchKey("t", new_batch_id())) == Step()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 20])
def test_the_last_page_is_found_without_reading_all(bench: Bench, count: int) -> None:
    for number in range(count):
        bench.write(f"{number:02}.png", PNG)
    key = bench.accept()
    planner = bench.planner(limits=PageLimits(scans=1))
    for _ in range(count):
        planner.step(key)
    for near in (0, 1, count - 1, count, count + 1):
        last = last_page(bench.ledger, key, max(0, near))
        assert (last.number if last else -1) == count - 1


@pytest.mark.parametrize(
    ("paths", "common"),
    [
        (["a/b.png"], "a/b.png"),
        (["a/b/1", "a/b/2"], "a/b"),
        (["a/b/1", "a/c/2"], "a"),
        (["a/1", "b/2"], "a/1"),
        (["a/b/1", "a/bc/2"], "a"),
        (["1", "2"], "1"),
    ],
)
def test_a_series_is_called_by_the_folder_that_holds_it(paths: list[str], common: str) -> None:
    assert common_path(paths) == common
