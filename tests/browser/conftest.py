"""A real browser (Debian's chromium) before the real API."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.api.serving import Served, served
from tests.conftest import need
from tests.servers.redis import valkey

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

Serve = Callable[..., AbstractContextManager[Served]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Debian's chromium; skipped where it is missing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.nodeid:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a screen."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    need(None if program else "chromium is missing (Debian: chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with valkey() as url:
        yield url


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Served]:
    """The API, without tokens."""
    with served(tmp_path_factory.mktemp("api"), broker) as running:
        yield running


@contextmanager
def opened(browser: Browser, url: str, **context: object) -> Iterator[Page]:
    """A fresh page; at its end it must have said nothing to the console, no violation of its policy either."""
    with browser.new_context(base_url=url, **context) as fresh:  # type: ignore[arg-type]  # playwright's options
        page = fresh.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        yield page
        assert said == []


@pytest.fixture
def page(browser: Browser, api: Served) -> Iterator[Page]:
    """A page at the start of the console."""
    with opened(browser, api.url) as fresh:
        fresh.goto("/")
        yield fresh
