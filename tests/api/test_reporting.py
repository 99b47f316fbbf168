"""The verb `report`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hwnas.api import report
from hwnas.api.run_folder import open_run
from hwnas.errors import RunError
from hwnas.latency import load_table, save_table


def test_the_page_links_every_model(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    files = [path.relative_to(finished).as_posix() for path in (finished / "models").glob("*/*.onnx")]
    assert files
    assert all(f'href="{name}"' in page for name in files)


def test_every_network_of_the_front_is_told_block_by_block(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    told = json.loads(page.split('class="choices">')[1].split("</script>")[0])
    members = [one for one in told["candidates"] if one["number"] is not None]
    assert members
    for one in members:
        total = sum(told["blocks"][str(block)]["ms"]["local-cpu"]["fp32"] for block in one["blocks"])
        total += told["overhead"]["local-cpu"]["fp32"]
        assert total == pytest.approx(one["estimates"]["latency_ms@local-cpu"])
    assert '"role":"interval"' in page  # of the errors: the run knows how many images they are of


def test_a_run_that_was_not_exported_has_a_page_too(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "verification.json").unlink()
    page = report(tmp_path / "run").read_text()
    assert "hwnas export" in page


def test_a_run_without_a_front_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "front.json").unlink()
    with pytest.raises(RunError):
        report(tmp_path / "run")


def test_the_networks_of_the_latency_table_are_shown_and_drawn(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "each left out of the fit that foretells it" in page
    assert (finished / "predictions-local-cpu.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_of_something_else_is_a_sentence(finished: Path, tables: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    shutil.copytree(tables, tmp_path / "tables")
    for path in (tmp_path / "tables").rglob("*.json"):
        table = load_table(path)
        save_table(replace(table, identity=replace(table.identity, num_threads=7)), path)
    settings = tmp_path / "run" / "run.toml"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("tables =")]
    settings.write_text(f'tables = "{(tmp_path / "tables").as_posix()}"\n' + "\n".join(lines))
    page = report(tmp_path / "run").read_text()
    assert "The fp32 latency table of local-cpu is not shown." in page
    assert "num_threads" in page


def test_networks_of_a_space_that_is_given_are_drawn(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    space = open_run(finished).network_space
    settings = tmp_path / "run" / "run.toml"
    text = settings.read_text()
    settings.write_text(text.replace('space = "mobilenetv3"', 'space = "python:MySpace"', 1))
    assert settings.read_text() != text
    journal = tmp_path / "run" / "evaluations.jsonl"
    header, *others = journal.read_text().splitlines()
    told = {**json.loads(header), "space": "mine"}
    journal.write_text("\n".join([json.dumps(told), *others]) + "\n")
    page = report(tmp_path / "run", space=space).read_text()
    choices = json.loads(page.split('class="choices">')[1].split("</script>")[0])
    assert all(one["blocks"] for one in choices["candidates"])
    assert "The blocks of the networks are not shown" in report(tmp_path / "run").read_text()


def test_a_table_that_is_gone_is_a_sentence(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    settings = tmp_path / "run" / "run.toml"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("tables =")]
    settings.write_text(f'tables = "{(tmp_path / "nowhere").as_posix()}"\n' + "\n".join(lines))
    page = report(tmp_path / "run").read_text()
    assert "The fp32 latency table of local-cpu is not shown." in page
    assert "it does not exist" in page
