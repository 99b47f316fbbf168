import io
import json
import sys
import tarfile

import pytest

from hwnas.devices.runtimes import browser_files
from hwnas.devices.runtimes.browser_files import PACKAGE_FILES, browser_version, fetch_package, find_files
from hwnas.errors import MissingRuntimeError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for programs are shell scripts")


def write_program(folder, name, script="exit 0"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def write_package(folder, *, version="1.30.0"):
    for name in PACKAGE_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"version": version}) if name == "package.json" else name)
    return folder


def write_archive(path, names=PACKAGE_FILES):
    with tarfile.open(path, "w:gz") as archive:
        for name in (*names, "../outside"):
            content = json.dumps({"version": "1.30.0"}).encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The one folder of the PATH, on a machine where nothing else is set or cached."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("HWNAS_BROWSER", "HWNAS_ONNXRUNTIME_WEB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    return folder


@pytest.fixture
def npm(programs, tmp_path):
    """An npm whose `pack` copies an archive, and notes how it was called."""
    write_archive(tmp_path / "archive.tgz")
    log = tmp_path / "npm.log"
    write_program(programs, "npm", f'echo "$@" >> {log}; /bin/cp {tmp_path}/archive.tgz onnxruntime-web-1.30.0.tgz')
    return log


def missing():
    with pytest.raises(MissingRuntimeError) as caught:
        find_files()
    assert "It comes by pip install 'hwnas[browser]'" in str(caught.value)
    return str(caught.value.came)


def test_without_playwright_it_says_so(programs, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing() == "Playwright is not installed"


def test_without_a_browser_it_says_so(programs):
    assert "no Chromium, Chrome or Edge is on the PATH" in missing()


def test_without_package_and_npm_it_says_so(programs):
    write_program(programs, "chromium")
    assert "there is no npm to fetch it" in missing()


def test_finding_with_npm_fetches_nothing(programs, npm, tmp_path):
    chromium = write_program(programs, "chromium")
    found = find_files()
    assert (found.browser, found.version) == (chromium, "1.30.0")
    assert found.package == tmp_path / "cache" / "hwnas" / "onnxruntime-web" / "1.30.0"
    assert not npm.exists()
    assert not found.package.exists()


def test_a_cached_package_needs_no_npm(programs, tmp_path):
    write_program(programs, "google-chrome")
    package = write_package(tmp_path / "cache" / "hwnas" / "onnxruntime-web" / "1.30.0")
    assert find_files().package == package


def test_the_folder_that_the_user_names_is_taken_with_its_version(programs, npm, tmp_path, monkeypatch):
    write_program(programs, "chromium")
    monkeypatch.setenv("HWNAS_ONNXRUNTIME_WEB", str(write_package(tmp_path / "mine", version="1.28.2")))
    found = find_files()
    assert (found.package, found.version) == (tmp_path / "mine", "1.28.2")


@pytest.mark.parametrize(("version", "came"), [("1.21.9", "older than 1.22"), (None, "has not all of dist/ort.wasm")])
def test_a_folder_that_cannot_be_used_is_named(programs, npm, tmp_path, monkeypatch, version, came):
    write_program(programs, "chromium")
    if version:
        write_package(tmp_path / "mine", version=version)
    monkeypatch.setenv("HWNAS_ONNXRUNTIME_WEB", str(tmp_path / "mine"))
    assert came in missing()
    assert str(tmp_path / "mine") in missing()


def test_the_browser_that_the_user_names_comes_first(programs, npm, tmp_path, monkeypatch):
    write_program(programs, "chromium")
    mine = write_program(tmp_path / "mine", "browser")
    monkeypatch.setenv("HWNAS_BROWSER", str(mine))
    assert find_files().browser == mine
    monkeypatch.setenv("HWNAS_BROWSER", str(tmp_path / "nowhere"))
    assert f"$HWNAS_BROWSER, {tmp_path / 'nowhere'}, is not a program" in missing()


def test_playwrights_own_browser_is_the_last_resort_and_the_newest_of_them(programs, npm, tmp_path):
    for revision in (999, 1255):
        write_program(tmp_path / "playwright" / f"chromium-{revision}" / "chrome-linux64", "chrome")
    assert find_files().browser.parts[-3] == "chromium-1255"
    chromium = write_program(programs, "chromium")
    assert find_files().browser == chromium


def test_the_package_is_fetched_once_without_its_scripts(npm, tmp_path):
    folder = tmp_path / "cache" / "package"
    for _ in range(2):
        fetch_package(folder)
    assert npm.read_text().splitlines() == ["pack onnxruntime-web@1.30.0 --ignore-scripts --loglevel=error"]
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert kept == set(PACKAGE_FILES)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_torn_package_is_fetched_again(npm, tmp_path):
    folder = write_package(tmp_path / "cache" / "package")
    (folder / PACKAGE_FILES[0]).unlink()
    fetch_package(folder)
    assert (folder / PACKAGE_FILES[0]).is_file()


@pytest.mark.parametrize(
    ("script", "came"),
    [
        ("echo 'npm error code ENOTFOUND' >&2; exit 1", "npm could not fetch it: npm error code ENOTFOUND"),
        ("exit 3", "npm could not fetch it: it does not say why"),
        ("exit 0", "it could not be unpacked"),
        ("echo rubbish > onnxruntime-web-1.30.0.tgz", "it could not be unpacked"),
        ("exec /bin/sleep 60", "npm did not fetch it within 0.2 s"),
    ],
)
def test_a_fetch_that_fails_says_why_and_leaves_nothing(programs, tmp_path, monkeypatch, script, came):
    write_program(programs, "npm", script)
    monkeypatch.setattr(browser_files, "FETCH_SECONDS", 0.2 if "sleep" in script else 60)
    with pytest.raises(MissingRuntimeError) as caught:
        fetch_package(tmp_path / "cache" / "package")
    assert came in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_archive_that_lacks_a_file_is_not_kept(npm, tmp_path):
    write_archive(tmp_path / "archive.tgz", PACKAGE_FILES[1:])
    with pytest.raises(MissingRuntimeError, match=r"could not be unpacked.*ort\.wasm\.min\.mjs"):
        fetch_package(tmp_path / "cache" / "package")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_npm_nothing_is_fetched(programs, tmp_path):
    with pytest.raises(MissingRuntimeError, match="there is no npm"):
        fetch_package(tmp_path / "cache" / "package")


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo Chromium 156.0.8078.79 built on Debian GNU/Linux 12", "Chromium 156.0.8078.79"),
        ("echo 'Google Chrome 140.0.7339.80 '", "Google Chrome 140.0.7339.80"),
        ("exit 1", None),
        ("exec /bin/sleep 60", None),
    ],
)
def test_a_browser_tells_its_version(tmp_path, monkeypatch, script, version):
    monkeypatch.setattr(browser_files, "VERSION_SECONDS", 0.2 if "sleep" in script else 30)
    assert browser_version(write_program(tmp_path, "browser", script)) == version


def test_a_browser_that_is_not_there_has_no_version(tmp_path):
    assert browser_version(tmp_path / "nowhere") is None


def test_a_package_that_another_process_fetched_meanwhile_is_kept(programs, tmp_path):
    folder = tmp_path / "cache" / "package"
    theirs = write_package(tmp_path / "theirs")
    write_archive(tmp_path / "archive.tgz")
    copy = f"/bin/cp {tmp_path}/archive.tgz onnxruntime-web-1.30.0.tgz"
    write_program(programs, "npm", f"{copy}; /bin/cp -r {theirs} {folder}")
    fetch_package(folder)
    assert (folder / PACKAGE_FILES[0]).read_text() == PACKAGE_FILES[0]
