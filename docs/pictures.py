"""The README's pictures, from a real run: `python docs/pictures.py` (needs Debian's chromium).

Serves a stack of its own on a free port, drops an example on the console, and takes pictures of the verdict; judges
`examples/` by the command, and keeps an overlay and the table that a terminal shows.
"""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright
from rich.console import Console

from neurobatch.client import Client
from neurobatch.display import FINAL, show_batch
from neurobatch.records import Options

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(__file__).resolve().parent / "pictures"
EXAMPLE = "composite_glioma.png"
OVERLAYS = ("composite_glioma.png", "t1ce_glioblastoma_16bit.png", "t1ce_meningioma.jpg", "flair_glioblastoma.tif")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
SIDE = 256  # px of one overlay in the row
SECONDS = 300.0


@contextlib.contextmanager
def serving(home: Path) -> Iterator[str]:
    """The URL of a whole stack, stopped afterwards."""
    command = [str(Path(sys.executable).parent / "neurobatch"), "serve", "--port", "0"]
    environment = os.environ | {"NEUROBATCH_HOME": str(home)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            said = iter(process.stderr.readline, "")
            url = next(found[0] for line in said if (found := re.search(r"http://[\d.:]+", line)))
            next(line for line in said if line.strip() == "ready")
            yield url
        finally:
            process.terminate()
            process.wait(60)


def console(url: str) -> None:
    """Drop one picture on the console, and photograph the verdict."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 800}, base_url=url)
        page.goto("/")
        page.locator("#files").set_input_files(str(ROOT / "examples" / EXAMPLE))
        expect(page.get_by_role("heading", name="Tumour found")).to_be_visible(timeout=SECONDS * 1000)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=TARGET / "console.png")
        browser.close()


def table_and_overlays(url: str) -> None:
    """Judge the examples; keep the terminal's table, and overlays in a row."""
    with Client(url) as client:
        batch = client.submit(sorted((ROOT / "examples").iterdir()), Options()).id
        deadline = time.monotonic() + SECONDS
        while client.status(batch).state not in FINAL and time.monotonic() < deadline:
            time.sleep(0.5)
        terminal = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
        show_batch(terminal, client.status(batch), client.results(batch))
        svg = terminal.export_svg(title="make run")
        (TARGET / "terminal.svg").write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))  # else from a CDN
        row = Image.new("RGB", (SIDE * len(OVERLAYS), SIDE))
        for result in client.results(batch):
            for artifact in result.artifacts:
                if result.path in OVERLAYS and artifact.name == "overlay.png":
                    data = b"".join(client.artifact(batch, result, artifact))
                    picture = Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE))
                    row.paste(picture, (SIDE * OVERLAYS.index(result.path), 0))
        row.save(TARGET / "overlays.png", optimize=True)


def main() -> None:
    """Make all pictures anew."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, serving(Path(home)) as url:
        console(url)
        table_and_overlays(url)


if __name__ == "__main__":
    main()
