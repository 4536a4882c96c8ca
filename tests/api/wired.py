"""A wired API over a real store, and what workers would have put into it, committed through the ledger."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import create_environ, run_wsgi_app

from api.app import build_app
from api.auth import Door
from api.intake import Intake, Wish
from api.readiness import Readiness
from api.services import Services
from neurobatch.codes import Code
from neurobatch.errors import Unavailable
from neurobatch.records import (
    Cursor,
    Extent,
    FileRef,
    Finding,
    Label,
    LeftOutLine,
    Page,
    PlanEnd,
    PlannedScan,
    Result,
    ScanKind,
    ScanState,
    Shard,
)
from neurobatch.settings import Settings
from storage import endings, names
from storage.ledger import Content, Ledger
from storage.names import BatchKey
from storage.objects import Objects
from storage.roots import Roots
from storage.status import StatusReader

NOW = datetime(2026, 11, 25, 3, tzinfo=UTC)
MASK = b"\x89PNG\r\n\x1a\nthe mask" * 20


@dataclass
class Rung:
    """Bells that are noted; `down`: the broker does not answer."""

    bells: list[tuple[str, str, str]] = field(default_factory=list)
    down: bool = False

    def ring_plan(self, key: BatchKey, queue: str) -> None:
        self._ring("plan", key, queue)

    def ring_settle(self, key: BatchKey, queue: str) -> None:
        self._ring("settle", key, queue)

    def _ring(self, word: str, key: BatchKey, queue: str) -> None:
        if self.down:
            raise Unavailable(Code.BROKER_UNAVAILABLE)
        self.bells.append((word, key.batch, queue))


class Hand:
    """Does what planners and workers do, through the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def plan_page(
        self, key: BatchKey, number: int, shards: int, per_shard: int, left_out: tuple[str, ...] = ()
    ) -> Page:
        """Put one page of the plan: scans `{n}.png` of the first source."""
        scans = [
            [planned(number * names.PAGE_SPAN + shard * per_shard + place) for place in range(per_shard)]
            for shard in range(shards)
        ]
        return self.put_scans(key, number, scans, left_out)

    def put_scans(
        self, key: BatchKey, number: int, scans: Sequence[Sequence[PlannedScan]], left_out: tuple[str, ...] = ()
    ) -> Page:
        """Put one page of the plan, with these scans in its shards."""
        lines = [LeftOutLine(source=0, path=path, code=Code.NOT_A_SCAN) for path in left_out]
        page = Page(
            number=number,
            shards=tuple(
                Shard(number=number * names.PAGE_SPAN + shard, scans=tuple(each)) for shard, each in enumerate(scans)
            ),
            cursor=Cursor(phase="done"),
            files=sum(len(each) for each in scans),
            left_out=self.ledger.put_lines(key, "left-out", number, lines),
        )
        return self.ledger.put_page(key, page)

    def end_plan(self, key: BatchKey, pages: int) -> None:
        self.ledger.end_plan(key, PlanEnd(pages=pages))

    def work(self, key: BatchKey, page: Page, shard: int) -> tuple[Result, ...]:
        """Commit a shard of a page as a worker would."""
        scans = page.shards[shard].scans
        return self.ledger.commit(key, page.shards[shard].number, [self.judged(key, scan) for scan in scans])

    def judged(self, key: BatchKey, scan: PlannedScan) -> Result:
        """Every third scan has a tumour and every seventh is damaged."""
        ordinal = int(scan.id.split("-")[0])
        if ordinal % 7 == 6:
            return endings.failed_result(scan, Code.DAMAGED)
        tumour = ordinal % 3 == 0
        label = Label.TUMOUR if tumour else Label.NO_TUMOUR
        files = {"report.json": Content("application/json", b'{"scan": 1}')}
        if tumour:
            files["mask.png"] = Content("image/png", MASK)
        return Result(
            scan=scan.id,
            state=ScanState.SUCCEEDED,
            kind=scan.kind,
            source=0,
            path=scan.path,
            files=1,
            slices=1,
            finding=Finding(label=label, probability=0.9 if tumour else 0.1, threshold=0.5),
            extents=(Extent(definition="whole", pixels=20),) if tumour else (),
            artifacts=self.ledger.put_artifacts(key, scan.id, files),
        )

    def finish(self, key: BatchKey) -> None:
        assert endings.finalise(self.ledger, key, NOW) is not None

    def finished(self, key: BatchKey, shards: int = 2, per_shard: int = 5) -> None:
        """Do all of a batch."""
        page = self.plan_page(key, 0, shards, per_shard, left_out=("notes.txt",))
        self.end_plan(key, 1)
        for shard in range(shards):
            self.work(key, page, shard)
        self.finish(key)


class Bench(Hand):
    """The API, its store, and a hand that does what planners and workers do."""

    def __init__(self, store: Objects, settings: Settings) -> None:
        super().__init__(Ledger(store))
        self.store = store
        self.settings = settings
        self.bells = Rung()
        self.worker_alive = True
        roots = Roots.of(settings)
        self.services = Services(
            settings=settings,
            ledger=self.ledger,
            intake=Intake(self.ledger, self.bells, settings, roots),
            status=StatusReader(self.ledger),
            roots=roots,
            door=Door.of(settings),
            readiness=Readiness(store, lambda: not self.bells.down, lambda: self.worker_alive),
        )
        self.app: APIFlask = build_app(self.services)
        self.client: FlaskClient = self.app.test_client()

    def key(self, batch: str, tenant: str = "local") -> BatchKey:
        return BatchKey(tenant, batch)

    def submitted(self, name: str = "a/1.png", tenant: str = "local") -> BatchKey:
        """A batch of one upload."""
        with self.services.intake.begin(tenant) as handover:
            handover.upload(name, [b"bytes"])
            return self.key(handover.accept(Wish()).id, tenant)


def send(bench: Bench, stream: object, content_type: str, *, length: int | None) -> tuple[int, Any]:
    """POST a batch from a stream as a server hands it on; without a length it is chunked. Status and JSON."""
    environ = create_environ("/v1/batches", "http://localhost", method="POST")
    environ |= {"CONTENT_TYPE": content_type, "wsgi.input": stream, "REMOTE_ADDR": "127.0.0.1"}
    if length is None:
        environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    else:
        environ["CONTENT_LENGTH"] = str(length)
    body, status, _ = run_wsgi_app(bench.app, environ, buffered=True)
    return int(status.split()[0]), json.loads(b"".join(body))


def planned(ordinal: int, path: str = "", source: int = 0) -> PlannedScan:
    """A picture of the plan."""
    path = path or f"Ordner/Снимок {ordinal}.png"
    return PlannedScan(
        id=f"{ordinal:09d}-{hashlib.sha256(path.encode()).hexdigest()[:12]}",
        kind=ScanKind.PICTURE,
        path=path,
        files=(FileRef(source=source, path=path, size=5, stamp="x"),),
        slices=1,
    )
