"""Records: what is stored today is read for ever, byte for byte."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import (
    Artifact,
    Attempt,
    Batch,
    BatchState,
    Cancel,
    ClassifierVerdict,
    ContentLine,
    Counts,
    Cursor,
    DuplicateLine,
    End,
    Extent,
    FileRef,
    Finding,
    Idempotency,
    Label,
    LeftOutLine,
    MemberLine,
    ModelPin,
    ModelUse,
    NamedFile,
    Options,
    Page,
    PlanEnd,
    PlannedScan,
    PlanStart,
    Record,
    Result,
    Reusable,
    RootSource,
    ScanKind,
    ScanState,
    SeriesForm,
    SeriesRule,
    Shard,
    UploadLine,
    UploadSource,
    dump_lines,
    load_lines,
)
from neurobatch.tables import csv_header, csv_row

GOLDEN = Path(__file__).parent / "golden"
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
SHA = "ab" * 32
THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UPLOAD = UploadSource(number=0, name="скан/one.png", size=3, sha256=SHA)
FILE = FileRef(source=0, path="scans.zip", member=4, name="a/b.png", size=77, stamp="123")
NAMED = NamedFile(name=f"results/{SHA}.jsonl", sha256=SHA, size=9, lines=1)
SCAN = PlannedScan(
    id="000000001-0123456789ab", kind=ScanKind.PICTURE, path="scans.zip/a/b.png", files=(FILE,), slices=1
)
FORM = SeriesForm(offset=1.0, temperature=2.0, threshold=0.5, review_low=0.4, review_high=0.6)
RESULT = Result(
    scan=SCAN.id,
    state=ScanState.SUCCEEDED,
    kind=ScanKind.PICTURE,
    source=0,
    path="=scans.zip/a/b.png",
    files=1,
    slices=1,
    finding=Finding(
        label=Label.TUMOUR,
        probability=0.987654,
        threshold=0.4,
        classifiers=(ClassifierVerdict(model="mobilenet", probability=0.987654, threshold=0.4),),
        reasons=(Code.PROBABILITY_IN_BAND,),
    ),
    extents=(Extent(definition="flair_abnormality", pixels=12, area_mm2=3.5, components=1),),
    warnings=(Code.SPACING_UNKNOWN,),
    models=(ModelUse(name="mobilenet", sha256=SHA, profile="plain"),),
    engine="openvino",
    precision="float32",
    processor="x86-64-v4",
    artifacts=(Artifact(name="mask.png", media_type="image/png", size=5, sha256=SHA),),
)
EXAMPLES: list[Record] = [
    Batch(
        id=ID,
        tenant="local",
        created=THEN,
        label="ward 7",
        sources=(UPLOAD, RootSource(root="archive", path="2026/heads")),
        options=Options(classifier="both", segment="all", profile="nlm-clahe", threshold=0.25),
        expires=THEN,
        listing=SHA,
    ),
    UploadLine(source=UPLOAD),
    Idempotency(batch=ID, request=SHA),
    PlanStart(
        models=(
            ModelPin(
                name="mobilenet",
                kind="classifier",
                sha256=SHA,
                profile="plain",
                size=224,
                temperature=1.5,
                threshold=0.4,
                review_low=0.3,
                review_high=0.5,
                series=SeriesRule(
                    name="neighbours",
                    version=1,
                    span_mm=15.0,
                    shortest=3,
                    head_mm=150.0,
                    clip=6.0,
                    floor=0.001,
                    mask_from=0.2,
                    alone=FORM,
                    with_mask=FORM.model_copy(update={"mask_weight": 0.5}),
                ),
            ),
        ),
        precision="float32",
        software="0.1.0",
    ),
    Page(
        number=0,
        shards=(Shard(number=0, scans=(SCAN,)),),
        cursor=Cursor(after="scans.zip", member=4),
        files=2,
        members=NAMED,
        left_out=NAMED,
    ),
    PlanEnd(pages=1),
    LeftOutLine(source=0, path="notes.txt", code=Code.NOT_A_SCAN),
    MemberLine(file=FILE, header={"series_uid": "2.25.1", "position": [0.0, 1.5, -3.0]}),
    RESULT,
    Attempt(number=1, holder="w1", started=THEN),
    Cancel(requested=THEN),
    End(
        state=BatchState.COMPLETED,
        finished=THEN,
        scans=1,
        counts=Counts(succeeded=1, tumour=1, slices=1),
        left_out=1,
        results=NAMED,
        table=NAMED,
        left_out_list=NAMED,
        reused=1,
        duplicates=NAMED,
    ),
    ContentLine(scan=SCAN.id, content=SHA, kept="cd" * 32),
    Reusable(batch=ID, scan=SCAN.id, artifacts=RESULT.artifacts),
    DuplicateLine(scan=SCAN.id, path="copy.png", first=SCAN.id, first_path="first.png"),
]


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: record.SCHEMA)
def test_each_record_has_the_bytes_that_were_promised(record: Record) -> None:
    golden = GOLDEN / f"{record.SCHEMA}-{record.VERSION}.json"
    assert golden.read_bytes() == record.dump() + b"\n"
    assert type(record).load(golden.read_bytes()) == record


def test_a_plan_that_was_started_before_there_were_rules_for_series_goes_on() -> None:
    old = PlanStart.load((GOLDEN / "plan-start-1.json").read_bytes())
    assert [pin.series for pin in old.models] == [None]


def test_a_batch_that_was_accepted_before_the_precision_could_be_left_open_keeps_it() -> None:
    assert Batch.load((GOLDEN / "batch-1.json").read_bytes()).options.precision == "float32"


def test_a_batch_that_ended_before_duplicates_were_told_can_be_read() -> None:
    old = End.load((GOLDEN / "end-1.json").read_bytes())
    assert (old.reused, old.duplicates) == (0, None)


def test_every_kind_of_record_has_a_golden_file() -> None:
    own = (kind for kind in Record.__subclasses__() if kind.__module__ == Record.__module__)  # the report is pipeline's
    kinds = {f"{kind.SCHEMA}-{kind.VERSION}.json" for kind in own}
    assert kinds <= {path.name for path in GOLDEN.iterdir()}


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: record.SCHEMA)
def test_a_newer_version_is_refused_by_name(record: Record) -> None:
    newer = record.dump().replace(f"{record.SCHEMA}/{record.VERSION}".encode(), f"{record.SCHEMA}/99".encode())
    with pytest.raises(Broken, match=f"{record.SCHEMA} record has version 99"):
        type(record).load(newer)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'"x"', b"\xff", b'{"schema":"neurobatch.page/x"}'])
def test_bytes_that_are_no_record_are_told_so(data: bytes) -> None:
    with pytest.raises(Broken, match="stored"):
        Batch.load(data)


def test_an_unknown_field_is_refused_and_its_value_not_repeated() -> None:
    told = RESULT.dump().replace(b'"files":1', b'"files":1,"patient_name":"Doe^John"')
    with pytest.raises(Broken) as caught:
        Result.load(told)
    assert "patient_name" in str(caught.value)
    assert "Doe" not in str(caught.value)


def test_lines_come_back_in_order() -> None:
    lines = [LeftOutLine(source=0, path=f"{n}\n.txt", code=Code.NOT_A_SCAN) for n in range(5)]
    assert list(load_lines(LeftOutLine, dump_lines(lines))) == lines


def test_a_failed_scan_has_a_code_and_no_other_state_has() -> None:
    with pytest.raises(ValueError, match="code"):
        Result(scan=SCAN.id, state=ScanState.FAILED, kind=ScanKind.PICTURE, source=0, path="", files=1)
    with pytest.raises(ValueError, match="code"):
        RESULT.model_validate(RESULT.model_dump() | {"code": "damaged"})


@given(st.lists(st.sampled_from(list(ScanState)[1:]), max_size=20), st.integers(0, 20))
def test_counts_add_up_however_they_are_split(states: list[ScanState], cut: int) -> None:
    results = [
        Result(
            scan=SCAN.id,
            state=state,
            code=Code.DAMAGED if state is ScanState.FAILED else None,
            kind=ScanKind.PICTURE,
            source=0,
            path="",
            files=1,
        )
        for state in states
    ]
    whole = Counts.of(results)
    assert Counts.of(results[:cut]) + Counts.of(results[cut:]) == whole
    assert whole.done == len(states)


def test_a_table_row_has_every_column_and_no_formula() -> None:
    header, row = csv_header().decode().split(","), csv_row(RESULT).decode().split(",")
    assert len(header) == len(row)
    assert row[header.index("path")] == "'=scans.zip/a/b.png"
    assert row[header.index("finding")] == "tumour"
