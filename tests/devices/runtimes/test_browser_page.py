import contextlib
import http.client
import os
import signal
import threading
from pathlib import Path

import pytest

from hwnas.devices.runtimes.browser import OnnxRuntimeWeb
from hwnas.devices.runtimes.browser_files import find_files
from hwnas.devices.runtimes.browser_page import BrowserPage, PageServer, open_page
from hwnas.errors import DeviceError, MissingRuntimeError


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    (folder / "dist" / "ort.mjs").write_text("export {};")
    (folder / "dist" / "ort.map").write_text("{}")
    return folder


@pytest.fixture
def server(package):
    with PageServer(package) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "kind", "start"), [("/", "text/html", b"<!doctype html>"), ("/ort/ort.mjs", "text/javascript", b"export")]
)
def test_the_page_and_the_scripts_are_served_isolated(server, path, kind, start):
    status, headers, content = get(server, path)
    assert (status, headers["Content-Type"]) == (200, kind)
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert content.startswith(start)


@pytest.mark.parametrize(
    "path", ["/ort/ort.map", "/ort/../package.json", "/../../etc/passwd", "//etc/passwd", "/ort/%2e%2e/x", "/models/"]
)
def test_nothing_else_is_served(server, path):
    assert get(server, path)[0] == 404


def test_a_model_is_served_while_it_is_loaded(server, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"model")
    with server.serving(model) as address, server.serving(model) as other:
        assert address != other
        assert get(server, address)[2] == b"model"
        model.unlink()
        assert get(server, address)[0] == 404
    model.write_bytes(b"model")
    assert get(server, address)[0] == 404


def test_the_server_is_reached_from_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"


@pytest.fixture
def files():
    try:
        OnnxRuntimeWeb().require()
    except MissingRuntimeError as error:
        pytest.skip(str(error))
    return find_files()


@pytest.fixture
def page(files):
    """The page that this process has open: starting another takes seconds."""
    return open_page(files.browser, files.package, num_threads=1)


def processes(page, kind):
    async def ids():
        session = await page._browser.new_browser_cdp_session()
        found = await session.send("SystemInfo.getProcessInfo")
        return [process["id"] for process in found["processInfo"] if process["type"] == kind]

    return page._wait(ids(), 10)


def test_a_page_is_shared_until_it_is_lost(files, page):
    assert open_page(files.browser, files.package, num_threads=1) is page


def test_an_error_in_the_page_is_a_device_error_and_the_page_goes_on(page):
    with pytest.raises(DeviceError, match=r"^Runtime onnxruntime-web must fly, but it says: .*not a function"):
        page.call("fly", must="fly", seconds=10)
    assert page.lost is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_the_computing_threads_are_on_the_cores_of_the_caller_and_the_others_are_not(page):
    before = os.sched_getaffinity(0)
    last = {max(before)}
    (browser,) = processes(page, "browser")
    renderers = processes(page, "renderer")
    tasks = [path for process in renderers for path in Path(f"/proc/{process}/task").iterdir()]
    try:
        os.sched_setaffinity(0, last)
        page.pin()
    finally:
        os.sched_setaffinity(0, before)
    assert all(os.sched_getaffinity(process) == last for process in renderers)
    assert os.sched_getaffinity(browser) == before
    for task in tasks:  # one that the page has started since has the cores of the thread that started it
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has ended since
            computes = int(task.name) in renderers or "Worker" in (task / "comm").read_text()
            assert os.sched_getaffinity(int(task.name)) == (last if computes else before)
    page.pin()
    assert all(os.sched_getaffinity(process) == before for process in renderers)


def test_a_page_that_crashes_is_a_device_error_and_the_next_is_new(files, page):
    for process in processes(page, "renderer"):
        os.kill(process, signal.SIGKILL)
    with pytest.raises(DeviceError, match="must work, but its page crashed, as pages do where memory runs out"):
        page.call("release", [], must="work", seconds=10)
    assert open_page(files.browser, files.package, num_threads=1) is not page


def test_a_browser_that_ends_is_a_device_error(page):
    (browser,) = processes(page, "browser")
    os.kill(browser, signal.SIGKILL)
    with pytest.raises(DeviceError, match="must work, but its browser ended"):
        page.call("release", [], must="work", seconds=10)
    page.close()


@pytest.mark.parametrize("browser", ["/bin/false", "/nowhere/chromium"])
def test_a_browser_that_does_not_start_is_a_device_error(files, browser):
    with pytest.raises(DeviceError) as caught:
        BrowserPage(Path(browser), files.package, num_threads=1)
    assert f"must start in {browser}, but " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_is_broken_is_a_device_error(files, tmp_path):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "ort.wasm.min.mjs").write_text("nonsense")
    with pytest.raises(DeviceError, match=r"must start in .*nonsense is not defined"):
        BrowserPage(files.browser, tmp_path, num_threads=1)
