"""API, console, worker and broker on this machine until Ctrl-C."""

import signal
import threading
import webbrowser
from collections.abc import Callable

import httpx

from deploy.local.processes import Process
from deploy.local.stack import Stack, free_port
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.settings import Settings

LOOK_SECONDS = 0.5
READY_SECONDS = 120.0  # after which something is wrong


def serve(settings: Settings, say: Callable[[str], None], *, browser: bool = False) -> None:
    """Run until SIGINT or SIGTERM. Unfinished batches of the store go on by themselves.

    Raises:
        Broken: `bind_without_token`, `bad_setting`, or the API could not be started.
    """
    if settings.host not in ("127.0.0.1", "::1", "localhost") and not settings.tokens:
        raise Broken(Code.BIND_WITHOUT_TOKEN)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    port = free_port(settings.host, settings.port)
    with Stack(settings) as stack:
        url = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{port}"
        say(f"neurobatch serves {url} (Ctrl-C stops it)")
        api = stack.start_api(settings.host, port)
        stack.start_worker()
        _wait(stop, url, api)
        if not stop.is_set():
            say("ready")
            if browser:
                webbrowser.open(url)
        while not stop.wait(LOOK_SECONDS):
            for name in stack.keep():
                say(f"the {name} had ended and was started again; see {settings.home / 'logs'}")
        say("stopping")


def _wait(stop: threading.Event, url: str, api: Process) -> None:
    """Until `/readyz` says 200. A first start makes the engines' files, which takes a while."""
    waited = 0.0
    while not stop.wait(LOOK_SECONDS / 2) and waited < READY_SECONDS:
        waited += LOOK_SECONDS / 2
        api.check()
        try:
            if httpx.get(f"{url}/readyz", timeout=5.0).status_code == 200:
                return
        except httpx.TransportError:
            continue
