"""What the browser runtime is made of, and where each part is found: Playwright, a Chromium, onnxruntime-web's files.

onnxruntime-web is no Python package, so that pip cannot bring it: npm fetches it once into a cache, at its first use.
Finding the parts is quick and touches no network.
"""

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hwnas.errors import MissingRuntimeError
from hwnas.files import cache_folder

__all__ = ["INSTALL_HINT", "NAME", "BrowserFiles", "browser_version", "fetch_package", "find_files"]

NAME: Final = "onnxruntime-web"
PINNED_VERSION: Final = "1.30.0"
OLDEST_VERSION: Final = (1, 22)  # the first whose sessions tell the types and shapes of their inputs
PACKAGE_FILES: Final = (
    "dist/ort.wasm.min.mjs",
    "dist/ort-wasm-simd-threaded.mjs",
    "dist/ort-wasm-simd-threaded.wasm",
    "package.json",
)
INSTALL_HINT: Final = (
    "pip install 'hwnas[browser]', a Chromium or Chrome on the PATH (or its path in $HWNAS_BROWSER), and either npm, which "
    f"fetches {NAME} {PINNED_VERSION} at the first use, or the folder of that npm package in $HWNAS_ONNXRUNTIME_WEB"
)
BROWSER_NAMES: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
PLAYWRIGHT_FOLDERS: Final = {"darwin": "~/Library/Caches/ms-playwright", "win32": "~/AppData/Local/ms-playwright"}
PLAYWRIGHT_BROWSERS: Final = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
    "chromium-*/chrome-win*/chrome.exe",
)
FETCH_SECONDS: Final = 300
VERSION_SECONDS: Final = 10


@dataclass(frozen=True)
class BrowserFiles:
    """The parts of the browser runtime on this machine.

    Attributes:
        browser: the program of a Chromium, Chrome or Edge.
        package: the folder of the npm package onnxruntime-web.
        version: of onnxruntime-web; where `package` is still to be fetched, the one that will be.
    """

    browser: Path
    package: Path
    version: str


def find_files() -> BrowserFiles:
    """The parts, without fetching any. Raises MissingRuntimeError, which says what is missing."""
    if importlib.util.find_spec("playwright") is None:
        raise _missing("Playwright is not installed")
    browser = _find_browser()
    package = _cached_package()
    named = os.environ.get("HWNAS_ONNXRUNTIME_WEB")
    if named:
        package = Path(named).expanduser().absolute()
        version = _package_version(package)
        if version is None:
            raise _missing(f"$HWNAS_ONNXRUNTIME_WEB, {package}, has not all of {', '.join(PACKAGE_FILES)}")
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise _missing(f"$HWNAS_ONNXRUNTIME_WEB, {package}, is version {version}, older than {oldest}")
        return BrowserFiles(browser, package, version)
    if _package_version(package) is None and shutil.which("npm") is None:
        raise _missing(f"{NAME} is not in {package}, and there is no npm to fetch it")
    return BrowserFiles(browser, package, PINNED_VERSION)


def fetch_package(folder: Path) -> None:
    """Makes `folder` the npm package onnxruntime-web (its parts that a page needs), unless it is there already.

    Raises:
        MissingRuntimeError: npm is not there, fails or takes longer than five minutes, or the folder cannot be written.
    """
    if _package_version(folder) is not None:
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = _unpack(_pack(Path(scratch)), Path(scratch) / "unpacked")
            if _package_version(folder) is None:  # another process may have been faster
                shutil.rmtree(folder, ignore_errors=True)
                made.rename(folder)
    except subprocess.TimeoutExpired:
        raise _missing(f"npm did not fetch it within {FETCH_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise _missing(f"npm could not fetch it: {_first_line(error.stderr)}") from error
    except (OSError, tarfile.TarError, KeyError) as error:
        if _package_version(folder) is None:
            raise _missing(f"it could not be unpacked into {folder}: {_first_line(str(error))}") from error


@functools.cache
def browser_version(browser: Path) -> str | None:
    """For example "Chromium 140.0.7339.80"; None where the program does not tell (on Windows it would open a window)."""
    if sys.platform == "win32":
        return None
    try:
        done = subprocess.run(
            [browser, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"^.*?\d+(?:\.\d+)+", done.stdout, re.MULTILINE)
    return found[0].strip() if found else None


def _find_browser() -> Path:
    named = os.environ.get("HWNAS_BROWSER")
    if named:
        found = shutil.which(named)
        if found is None:
            raise _missing(f"$HWNAS_BROWSER, {named}, is not a program")
        return Path(found)
    for name in BROWSER_NAMES:
        if found := shutil.which(name):
            return Path(found)
    folder = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or PLAYWRIGHT_FOLDERS.get(
        sys.platform, "~/.cache/ms-playwright"
    )
    kept = [path for pattern in PLAYWRIGHT_BROWSERS for path in Path(folder).expanduser().glob(pattern)]
    if not kept:
        raise _missing("no Chromium, Chrome or Edge is on the PATH, and Playwright has none of its own")
    return max(kept, key=lambda path: [int(part) for part in re.findall(r"chromium-(\d+)", str(path))])


def _cached_package() -> Path:
    return cache_folder(NAME) / PINNED_VERSION


def _package_version(package: Path) -> str | None:
    """What its package.json says, None where one of the files is missing."""
    if not all((package / name).is_file() for name in PACKAGE_FILES):
        return None
    try:
        return str(json.loads((package / "package.json").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _pack(folder: Path) -> Path:
    """npm's archive of the package, whose integrity npm has checked; no script of the package is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise _missing("there is no npm to fetch it")
    command = [npm, "pack", f"{NAME}@{PINNED_VERSION}", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS, check=True
    )
    return folder / f"{NAME}-{PINNED_VERSION}.tgz"


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as packed:
        for name in PACKAGE_FILES:
            content = packed.extractfile(f"package/{name}")
            if content is None:
                raise KeyError(name)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
    return folder


def _missing(came: str) -> MissingRuntimeError:
    return MissingRuntimeError(f"Runtime {NAME}", "must be installed", came=came, do=f"It comes by {INSTALL_HINT}")


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "it does not say why")
