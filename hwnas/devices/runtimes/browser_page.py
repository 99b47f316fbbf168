"""A page of ONNX Runtime Web: the Chromium that shows it, the server that feeds it, and bounded calls into it.

Playwright is driven by an event loop in a thread of its own, so that every wait ends, and so that the callers may be in any
thread, or in an event loop themselves.
"""

import asyncio
import atexit
import contextlib
import os
import re
import secrets
import shutil
import threading
from collections import deque
from collections.abc import Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hwnas.errors import DeviceError

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Playwright

__all__ = ["BrowserPage", "open_page"]

Answer = TypeVar("Answer")

START_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 10.0
CONTENT_TYPES: Final = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}
ISOLATION: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PAGE: Final = Path(__file__).with_suffix(".html")
ALL_CORES: Final = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
"""The cores that this process had at its start, before a measurement pins it."""

_open_pages: dict[tuple[Path, Path, int], "BrowserPage"] = {}
_opening = threading.Lock()


def open_page(browser: Path, package: Path, *, num_threads: int) -> "BrowserPage":
    """The page with so many threads that this process has open, or else a new one; it stays open until the process ends.

    Args:
        browser: the program of a Chromium.
        package: the folder of the npm package onnxruntime-web.
        num_threads: threads of one inference; a page has one number for all of its models.

    Raises:
        DeviceError: the browser does not start, or the page does not.
    """
    key = (browser, package, num_threads)
    with _opening:
        page = _open_pages.get(key)
        if page is not None and page.lost is not None:
            page.close()
            page = None
        if page is None:
            page = _open_pages[key] = BrowserPage(browser, package, num_threads=num_threads)
        return page


class PageServer(ThreadingHTTPServer):
    """Serves the page, the package's files and the models that are being loaded, on the loopback interface.

    Its headers isolate the page from other origins, without which a browser gives it neither threads nor a fine clock.

    Args:
        package: the folder of the npm package onnxruntime-web.
    """

    daemon_threads = True

    def __init__(self, package: Path) -> None:
        super().__init__(("127.0.0.1", 0), PageRequest)
        scripts = [path for path in (package / "dist").iterdir() if path.suffix in {".mjs", ".wasm"}]
        self.files = {"/": PAGE, **{f"/ort/{path.name}": path for path in scripts}}
        self.url = f"http://127.0.0.1:{self.server_port}/"

    @contextlib.contextmanager
    def serving(self, path: Path) -> Iterator[str]:
        """Yields an address, one that cannot be guessed, under which `path` is served for now."""
        address = f"/models/{secrets.token_urlsafe()}"
        self.files[address] = path
        try:
            yield address
        finally:
            del self.files[address]


class PageRequest(BaseHTTPRequestHandler):
    """One request to a PageServer."""

    server: PageServer

    def do_GET(self) -> None:
        """Sends one of the server's files, else "not found"."""
        path = self.server.files.get(self.path.partition("?")[0])
        try:
            content = path.open("rb") if path else None
        except OSError:
            content = None
        if path is None or content is None:
            self.send_error(404)
            return
        with content, contextlib.suppress(ConnectionError):
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPES.get(path.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(os.fstat(content.fileno()).st_size))
            for name, value in ISOLATION.items():
                self.send_header(name, value)
            self.end_headers()
            shutil.copyfileobj(content, self.wfile)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: what matters comes back as the page's error."""


class BrowserPage:
    """A headless Chromium with one page, browser_page.html, in which models are loaded, run and timed.

    Args:
        browser: the program of a Chromium.
        package: the folder of the npm package onnxruntime-web.
        num_threads: threads of one inference.

    Attributes:
        lost: why the page can no longer be used, None while it can.

    Raises:
        DeviceError: the browser does not start, or the page does not.
    """

    def __init__(self, browser: Path, package: Path, *, num_threads: int) -> None:
        self.lost: str | None = None
        self.server = PageServer(package)
        self._unused: deque[int] = deque()
        self._cores = ALL_CORES
        self._closed = False
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._page: Page | None = None
        self._loop = asyncio.new_event_loop()
        for serve in (self._run_loop, self.server.serve_forever):
            threading.Thread(target=serve, daemon=True, name=f"{type(self).__name__}.{serve.__name__}").start()
        atexit.register(self.close)
        try:
            self._wait(self._start(browser), START_SECONDS)
            isolated = self.call("start", num_threads, must=f"start in {browser}", seconds=START_SECONDS)
        except Exception as error:  # whatever Playwright raises, no browser is to be left behind
            self.close()
            if isinstance(error, DeviceError):
                raise
            raise _error(f"start in {browser}", _reason(error, START_SECONDS)) from error
        if not isolated:
            self.close()
            raise _error(
                f"start in {browser}", "there its page is not isolated, and has neither threads nor a fine clock"
            )

    def call(self, name: str, *values: object, must: str, seconds: float) -> Any:
        """What the page's function `name` returns for `values`, all of them JSON.

        Args:
            name: of the function.
            values: its arguments.
            must: what is asked for, for the error ("load model.onnx").
            seconds: the longest wait; a page that takes longer is given up.

        Raises:
            DeviceError: the function fails, takes too long, or its page is lost.
        """
        page = self._page
        if self.lost is not None or page is None:
            raise _error(must, self.lost or "its page was never opened")
        try:
            answer = self._wait(page.evaluate("call => window.hwnas(call)", [name, *values]), seconds)
        except Exception as error:  # whatever Playwright raises, the page or its browser is gone
            self._lose(_reason(error, seconds))
            self.close()
            raise _error(must, str(self.lost)) from error
        if "error" in answer:
            reason = _first_line(answer["error"])
            full = "bad_alloc" in reason or "out of memory" in reason.lower()
            raise _error(must, f"{'its page is out of memory' if full else 'it says'}: {reason}")
        return answer.get("value")

    def forget(self, key: int) -> None:
        """Marks the model `key` as unused; safe from a finalizer: it waits for nothing."""
        self._unused.append(key)

    def release(self) -> None:
        """Frees the models that are no longer used. Raises DeviceError."""
        keys = [self._unused.popleft() for _ in range(len(self._unused))]
        if keys:
            self.call("release", keys, must="release a model", seconds=START_SECONDS)

    def pin(self) -> None:
        """Gives the threads of the page that compute the cores of the calling thread, where the system can.

        Chromium's other threads keep all cores: on the same core its compiler would draw out the first, slow runs.
        """
        if not ALL_CORES or (cores := os.sched_getaffinity(0)) == self._cores:
            return
        # a container may forbid it; a lost page is told of by the call that follows
        with contextlib.suppress(Exception):
            for process in self._wait(self._renderers(), CLOSE_SECONDS):
                for thread in Path(f"/proc/{process}/task").iterdir():
                    if thread.name == str(process) or "Worker" in (thread / "comm").read_text(encoding="utf-8"):
                        os.sched_setaffinity(int(thread.name), cores)
        self._cores = cores

    def close(self) -> None:
        """Ends the browser and the server; calls that follow fail. It may be called again."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._lose("its page was closed")
        with contextlib.suppress(Exception):
            self._wait(self._stop(), CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.server.shutdown()
        self.server.server_close()

    def _run_loop(self) -> None:
        if ALL_CORES:
            os.sched_setaffinity(0, ALL_CORES)
        self._loop.run_forever()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, Answer], seconds: float) -> Answer:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), self._loop).result(
            seconds + CLOSE_SECONDS
        )

    async def _start(self, browser: Path) -> None:
        from playwright.async_api import async_playwright

        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(
            executable_path=browser, headless=True, handle_sigint=False, timeout=START_SECONDS * 1e3
        )
        self._browser.on("disconnected", lambda _: self._lose("its browser ended"))
        self._page = await self._browser.new_page()
        self._page.on("crash", lambda _: self._lose("its page crashed, as pages do where memory runs out"))
        await self._page.goto(self.server.url)
        await self._page.wait_for_function("window.hwnas !== undefined")

    async def _stop(self) -> None:
        if self._browser is not None:
            await self._browser.close()
        if self._playwright is not None:
            await self._playwright.stop()

    async def _renderers(self) -> list[int]:
        if self._browser is None:
            return []
        session = await self._browser.new_browser_cdp_session()
        found = await session.send("SystemInfo.getProcessInfo")
        await session.detach()
        return [process["id"] for process in found["processInfo"] if process["type"] == "renderer"]

    def _lose(self, reason: str) -> None:
        self.lost = self.lost or reason


def _error(must: str, came: str) -> DeviceError:
    return DeviceError("Runtime onnxruntime-web", f"must {must}", came=came)


def _reason(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"its page did not answer within {seconds:g} s"
    if "has been closed" in str(error):
        return "its browser ended"
    return re.sub(r"^\w+\.\w+: ", "", _first_line(str(error))) or type(error).__name__


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(".")
