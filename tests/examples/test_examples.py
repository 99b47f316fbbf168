"""The programs of examples/ give what torch gives."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hwnas.devices.runtimes.browser_files import BrowserFiles, fetch_package, find_files
from hwnas.errors import MissingRuntimeError

EXAMPLES = Path(__file__).parents[2] / "examples"


def said_by(*command: str | Path) -> list[tuple[str, float]]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pairs = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return [(label, float(probability)) for probability, label in pairs]


def assert_same(said: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    assert [label for label, _ in said] == [label for label, _ in expected]
    assert [value for _, value in said] == pytest.approx([value for _, value in expected], abs=1e-5)


def test_the_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == ["python", "cpp", "web"]
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {"python", "cpp", "web"}


def test_python(example: Any) -> None:
    program = EXAMPLES / "python" / "classify.py"
    for image, expected in zip(example.images, example.expected, strict=True):
        assert_same(said_by(sys.executable, program, example.bundle / "fp32-image.onnx", image), expected)


@pytest.mark.parametrize("content", [b"", b"P3 1 1 255 0", b"GIF89a", b"P5 1 1 65535 ab"])
def test_python_says_what_image_it_takes(example: Any, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image").write_bytes(content)
    command = [
        sys.executable,
        EXAMPLES / "python" / "classify.py",
        example.bundle / "fp32-image.onnx",
        tmp_path / "image",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "must be a binary PGM or PPM of 8 bits" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="session")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ program, built with the ONNX Runtime of $ONNXRUNTIME_ROOT or of the system."""
    if shutil.which("cmake") is None:
        pytest.skip("there is no cmake")
    build = tmp_path_factory.mktemp("build")
    root = os.environ.get("ONNXRUNTIME_ROOT", "")
    command = ["cmake", "-S", EXAMPLES / "cpp", "-B", build, f"-DONNXRUNTIME_ROOT={root}"]
    configured = subprocess.run(command, capture_output=True, text=True, check=False)
    if re.search(r"Could not find ONNXRUNTIME_\w+", configured.stderr):
        pytest.skip("ONNX Runtime's C++ headers and library are not here: name them by $ONNXRUNTIME_ROOT")
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(["cmake", "--build", build], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return build / "classify"


def test_cpp(classify: Path, example: Any) -> None:
    for image, expected in zip(example.images, example.expected, strict=True):
        assert_same(said_by(classify, example.bundle / "fp32-image.onnx", image), expected)


@pytest.fixture(scope="session")
def browser() -> BrowserFiles:
    """A Chromium, and the npm package onnxruntime-web."""
    try:
        files = find_files()
        fetch_package(files.package)
    except MissingRuntimeError as error:
        pytest.skip(str(error))
    return files


@pytest.fixture
def address(browser: BrowserFiles, example: Any, tmp_path: Path) -> Iterator[str]:
    """The page and a bundle of a run where the README has them, offered by a plain web server after `npm install`."""
    page, bundle = tmp_path / "examples" / "web", tmp_path / "runs" / "quickstart" / "models" / "winner-1"
    page.mkdir(parents=True)
    shutil.copy(EXAMPLES / "web" / "index.html", page)
    shutil.copytree(browser.package, page / "node_modules" / "onnxruntime-web")
    shutil.copytree(example.bundle, bundle)
    [path] = re.findall(r"http://localhost:8000(/\S+?)`", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{path}"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def guess_type(self, path: Any) -> str:
        """Of modules of JavaScript what browsers insist on, whatever the system's table says."""
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_web(address: str, browser: BrowserFiles, example: Any, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.browser, headless=True)
        page = chromium.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.wait_for_selector("input:enabled")
        for picture, expected in zip(example.pictures, example.expected, strict=True):
            page.evaluate("document.querySelector('tbody').replaceChildren()")
            page.set_input_files("input", picture)
            page.wait_for_selector("tr")
            rows = [row.split("\t") for row in page.inner_text("tbody").splitlines()]
            assert_same([(label, float(probability)) for label, probability in rows], expected)
            assert page.inner_text("[role=status]") == f"It is: {expected[0][0]}"
        assert complaints == []
        (tmp_path / "notes.txt").write_text("no image")
        page.set_input_files("input", tmp_path / "notes.txt")
        page.wait_for_function(
            "document.querySelector('[role=status]').textContent.includes('could not be classified')"
        )
        page.goto(address.replace("winner-1", "winner-none"))
        page.wait_for_function("document.querySelector('[role=status]').textContent.includes('could not be loaded')")
        chromium.close()
