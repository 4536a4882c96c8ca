"""The console as people use it: drop, wait, see the verdict; what a worker would do is committed to the store."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from neurobatch.codes import Code
from neurobatch.records import (
    Extent,
    Finding,
    Label,
    PlannedScan,
    Result,
    ScanState,
    UploadSource,
)
from neurobatch.records import (
    Page as PlanPage,
)
from pipeline.drawing import overlay
from storage import endings
from storage.ledger import Content
from storage.names import BatchKey
from tests.api.serving import Served, served
from tests.api.wired import NOW, Hand, planned
from tests.browser.conftest import opened

SIDE = 64  # px
TOKEN = "correct-horse-battery"


def picture() -> bytes:
    """A PNG with something in it."""
    out = io.BytesIO()
    Image.fromarray((np.arange(SIDE * SIDE, dtype=np.uint32) % 251).astype(np.uint8).reshape(SIDE, SIDE)).save(
        out, "PNG"
    )
    return out.getvalue()


class Worker(Hand):
    """Judges as told: a path with `tumour` in it has one, one with `odd` needs review."""

    def judged(self, key: BatchKey, scan: PlannedScan) -> Result:
        if "broken" in scan.path:
            return endings.failed_result(scan, Code.DAMAGED)
        plane = np.asarray(Image.open(io.BytesIO(picture())))
        mask = np.zeros((SIDE, SIDE), bool)
        mask[20:40, 20:44] = True
        tumour, odd = "tumour" in scan.path, "odd" in scan.path
        files = {
            "overlay.png": Content("image/png", overlay(plane, mask if tumour else None)),
            "report.json": Content("application/json", b"{}"),
        }
        if "bare" in scan.path:
            del files["overlay.png"]
        if tumour:
            files["mask.png"] = Content("image/png", picture())
        label = Label.TUMOUR if tumour else Label.NEEDS_REVIEW if odd else Label.NO_TUMOUR
        return Result(
            scan=scan.id,
            state=ScanState.SUCCEEDED,
            kind=scan.kind,
            source=scan.files[0].source,
            path=scan.path,
            files=1,
            slices=1,
            finding=Finding(
                label=label,
                probability=0.973 if tumour else 0.02,
                threshold=0.5,
                reasons=(Code.PROBABILITY_IN_BAND,) if odd else (),
            ),
            extents=(Extent(definition="tumour core", pixels=480),) if tumour else (),
            warnings=(Code.SPACING_UNKNOWN,),
            artifacts=self.ledger.put_artifacts(key, scan.id, files),
        )

    def plan(self, key: BatchKey) -> PlanPage:
        """One scan for each upload."""
        sources = [each for each in self.ledger.sources(self.ledger.batch(key)) if isinstance(each, UploadSource)]
        scans = [planned(number, source.name, source=number) for number, source in enumerate(sources)]
        page = self.put_scans(key, 0, [scans], left_out=("notes.txt",))
        self.end_plan(key, 1)
        return page

    def do(self, key: BatchKey) -> None:
        """All of a batch."""
        self.work(key, self.plan(key), 0)
        self.finish(key)


@pytest.fixture
def worker(api: Served) -> Worker:
    return Worker(api.ledger)


def hand_over(page: Page, *file_names: str, content: bytes | None = None) -> BatchKey:
    """Choose files as a person does; waits for the page of their batch."""
    chosen = [{"name": name, "mimeType": "image/png", "buffer": content or picture()} for name in file_names]
    page.locator("#files").set_input_files(chosen)  # type: ignore[arg-type]  # playwright's FilePayload
    page.wait_for_url(re.compile(r"#/batches/[0-9a-f-]{36}$"))
    return BatchKey("local", page.url[-36:])


def test_one_picture_becomes_a_verdict_with_the_tumour_in_red(page: Page, worker: Worker) -> None:
    key = hand_over(page, "my tumour.png")
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    assert worker.ledger.batch(key).options.queue == "urgent"
    worker.do(key)
    expect(page.get_by_role("heading", name="Tumour found")).to_be_visible()
    expect(page.get_by_text("97.3 % probability of a tumour")).to_be_visible()
    expect(page.get_by_text("threshold 50 %").first).to_be_visible()
    for shown in ("With the tumour in red", "As it was sent"):
        figure = page.locator("figure", has_text=shown)
        expect(figure).to_be_visible()
        assert figure.locator("img").evaluate("image => image.naturalWidth") == SIDE
    expect(page.get_by_text("480 pixels")).to_be_visible()
    expect(page.get_by_text(Code.SPACING_UNKNOWN.sentence)).to_be_visible()
    expect(page.get_by_role("note")).to_contain_text("not an approved medical device")


def test_the_mask_is_downloaded_under_the_users_name(page: Page, worker: Worker) -> None:
    worker.do(hand_over(page, "Läsion tumour.png"))
    with page.expect_download() as waited:
        page.get_by_role("button", name="Mask").click()
    assert waited.value.suggested_filename == "Läsion tumour.png_mask.png"
    assert Path(waited.value.path()).read_bytes() == picture()


def test_why_a_person_should_look_is_told_in_words(page: Page, worker: Worker) -> None:
    worker.do(hand_over(page, "odd.png"))
    expect(page.get_by_role("heading", name="A person should look", exact=True)).to_be_visible()
    expect(page.get_by_text(Code.PROBABILITY_IN_BAND.sentence)).to_be_visible()


def test_where_nothing_was_drawn_the_picture_is_shown_as_it_was_sent(page: Page, worker: Worker) -> None:
    worker.do(hand_over(page, "bare.png"))
    expect(page.get_by_role("heading", name="No tumour found")).to_be_visible()
    figure = page.locator("figure", has_text="As it was sent")
    expect(figure).to_be_visible()
    assert figure.locator("img").evaluate("image => image.naturalWidth") == SIDE


def test_a_scan_that_failed_says_why(page: Page, worker: Worker) -> None:
    worker.do(hand_over(page, "broken.png"))
    expect(page.get_by_role("heading", name="This scan could not be judged")).to_be_visible()
    expect(page.get_by_text(Code.DAMAGED.sentence)).to_be_visible()


def test_a_batch_fills_up_live_and_is_filtered(page: Page, worker: Worker) -> None:
    key = hand_over(page, "a tumour.png", "b.png", "c odd.png", "d broken.png", "e tumour.png")
    assert worker.ledger.batch(key).options.queue == "normal"
    planned_page = worker.plan(key)
    rows = page.locator(".scans li")
    expect(rows).to_have_count(5)
    expect(page.get_by_text("0 / 5")).to_be_visible()
    worker.work(key, planned_page, 0)
    expect(page.get_by_text("5 / 5")).to_be_visible()
    worker.finish(key)
    expect(page.get_by_role("button", name="Download everything")).to_be_visible()
    for tab, count in (("Tumour", 2), ("Needs review", 1), ("No tumour", 1), ("Failed", 1), ("Waiting", 0), ("All", 5)):
        page.get_by_role("button", name=tab, exact=True).click()
        expect(rows).to_have_count(count)
    page.get_by_text("1 file left out").click()
    expect(page.get_by_text(Code.NOT_A_SCAN.sentence)).to_be_visible()
    page.locator(".scans li a").first.click()
    expect(page.get_by_role("heading", name="Tumour found")).to_be_visible()
    page.get_by_text("All scans of this batch").click()
    expect(rows).to_have_count(5)


def test_files_that_are_dropped_keep_their_paths(page: Page, worker: Worker) -> None:
    page.evaluate(
        """() => {
            const carried = new DataTransfer();
            for (const name of ["x tumour.png", "y.png"]) carried.items.add(new File(["bytes"], name));
            const drop = new DragEvent("drop", {dataTransfer: carried, bubbles: true});
            document.getElementById("drop").dispatchEvent(drop);
        }"""
    )
    page.wait_for_url(re.compile(r"#/batches/"))
    sources = worker.ledger.batch(BatchKey("local", page.url[-36:])).sources
    assert [source.name for source in sources if isinstance(source, UploadSource)] == ["x tumour.png", "y.png"]


def test_a_folder_keeps_its_paths(page: Page, worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "patient" / "series").mkdir(parents=True)
    (tmp_path / "patient" / "series" / "1.dcm").write_bytes(b"x")
    (tmp_path / "patient" / "2.png").write_bytes(b"y")
    page.locator("#folder").set_input_files(tmp_path / "patient")
    page.wait_for_url(re.compile(r"#/batches/"))
    batch = worker.ledger.batch(BatchKey("local", page.url[-36:]))
    found = {source.name for source in batch.sources if isinstance(source, UploadSource)}
    assert found == {"patient/series/1.dcm", "patient/2.png"}
    assert batch.label == "patient"


def test_a_name_is_text_whatever_it_holds(page: Page, worker: Worker) -> None:
    hostile = "<img src=x onerror=document.title='owned'>&amp;tumour.png"
    worker.do(hand_over(page, hostile))
    expect(page.locator(".verdict-head .path")).to_have_text(hostile.replace("/", ""))
    assert page.title() == "neurobatch"


def test_options_are_sent(page: Page, worker: Worker) -> None:
    page.get_by_text("Options").click()
    page.get_by_label("Network that judges").select_option("both")
    page.get_by_label("Draw the tumour").select_option("all")
    options = worker.ledger.batch(hand_over(page, "a.png")).options
    assert (options.classifier, options.segment, options.profile) == ("both", "all", None)


def test_a_batch_can_be_cancelled_and_deleted(page: Page, worker: Worker) -> None:
    key = hand_over(page, "a.png", "b.png")
    worker.plan(key)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".batch-head .chip")).to_have_text("cancelling")
    endings.cancel(worker.ledger, key, NOW)
    expect(page.locator(".batch-head .chip")).to_have_text("cancelled")
    page.get_by_role("button", name="Delete").click()
    assert not worker.ledger.deleting(key)
    page.get_by_role("button", name="Delete it and all results?").click()
    page.wait_for_url(re.compile(r"#/batches$"))
    assert worker.ledger.deleting(key)


def test_the_last_batches_are_listed_with_what_was_found(page: Page, worker: Worker) -> None:
    worker.do(hand_over(page, "list tumour.png"))
    page.goto("/")
    row = page.locator(".row").first
    expect(row).to_contain_text("list tumour.png")
    expect(row).to_contain_text("1 with tumour")
    expect(row.get_by_role("img")).to_have_accessible_name("1 of 1 scan done")


def test_what_is_not_there_is_told(browser: Browser, api: Served) -> None:
    with browser.new_context(base_url=api.url) as context:
        page = context.new_page()
        page.goto("/#/batches/01a2109d-7591-7682-a12c-d9dd2e6af357")
        expect(page.get_by_role("alert")).to_contain_text("There is no such batch.")


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, api: Served, worker: Worker) -> None:
    with opened(browser, api.url, viewport={"width": 360, "height": 740}, color_scheme="light") as page:
        page.goto("/")
        key = hand_over(page, f"{'a very long name ' * 6}tumour.png", "b odd.png")
        worker.do(key)
        expect(page.locator(".scans li")).to_have_count(2)
        first = page.locator(".scans a").first.get_attribute("href") or ""
        for address in ("/", "/#/batches", f"/#/batches/{key.batch}", f"/{first}", "/docs"):
            page.goto(address)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 360, address


def test_the_keyboard_suffices(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    button = page.get_by_role("button", name="Choose files")
    page.evaluate(
        """document.getElementById("files").addEventListener("click", (event) => {
            event.preventDefault();
            document.body.dataset.asked = "yes";
        })"""
    )
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("body")).to_have_attribute("data-asked", "yes")


def test_light_and_dark_can_be_chosen_and_are_kept(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Light or dark").click()
    after = page.evaluate(ground)
    assert before != after
    page.reload()
    assert page.evaluate(ground) == after


def test_the_reference_of_the_api_is_drawn_from_its_document(page: Page) -> None:
    page.goto("/docs")
    expect(page.get_by_text("Hand over a batch")).to_be_visible()
    expect(page.locator("#Status")).to_contain_text("cancelling")


def test_with_tokens_the_console_asks_for_one_and_shows_pictures_with_it(
    browser: Browser, broker: str, tmp_path: Path
) -> None:
    with served(tmp_path, broker, tokens=f"local={TOKEN}") as api, browser.new_context(base_url=api.url) as context:
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Token", exact=True).fill("wrong-wrong-wrong-wrong")
        page.get_by_role("button", name="Go on").click()
        page.get_by_label("Token", exact=True).fill(TOKEN)
        page.get_by_role("button", name="Go on").click()
        key = hand_over(page, "tumour.png")
        Worker(api.ledger).do(key)
        image = page.locator("figure", has_text="With the tumour in red").locator("img")
        expect(image).to_be_visible()
        assert image.evaluate("image => image.naturalWidth") == SIDE
        with page.expect_download() as waited:
            page.get_by_role("button", name="Mask").click()
        assert waited.value.suggested_filename == "tumour.png_mask.png"
        assert page.evaluate("localStorage.length") == 0
