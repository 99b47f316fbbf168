"""`hwnas export` and `hwnas verify`."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hwnas.bundles import BundleError, check_bundle
from hwnas.cli.commands import app
from hwnas.errors import SettingsError, StoredFileError


def test_the_options_of_export_are_those_of_the_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def remember(run: Path, **options: Any) -> list[Path]:
        given.update(options, run=run)
        return [run / "models" / "winner-1"]

    monkeypatch.setattr("hwnas.api.export", remember)
    words = "export runs/x --winners 2 --finetune-epochs 0 --precision fp32 --precision int8 --max-drop 1 --opset 21"
    words += " --batch-size dynamic --image-input --engine tensorrt-rtx --openvino --licence CC0-1.0"
    result = CliRunner().invoke(app, words.split(), catch_exceptions=False)
    assert "runs/x/models/winner-1" in result.output
    assert "hwnas verify runs/x" in result.output
    given.pop("on_progress")
    assert given == {
        "run": Path("runs/x"),
        "winners": 2,
        "finetune_epochs": 0,
        "precisions": ["fp32", "int8"],
        "max_drop": 1.0,
        "opset": 21,
        "batch_size": "dynamic",
        "image_input": True,
        "engine": "tensorrt-rtx",
        "openvino": True,
        "licence": "CC0-1.0",
    }


@pytest.mark.parametrize(("problems", "code"), [([], 0), (["int8.onnx must be there, but it is missing."], 2)])
def test_a_folder_with_a_manifest_is_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems: list[str], code: int
) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    report = {"name": "winner-1", "description": "small", "here": "a processor", "files": {}, "again": []}
    report |= {"notes": [], "images": 5, "problems": problems}
    seen: list[Path | None] = []
    monkeypatch.setattr("hwnas.api.verify_bundle", lambda _, data: seen.append(data) or report)
    result = CliRunner().invoke(app, ["verify", str(tmp_path), "--data", "other.npz"])
    assert result.exit_code == code
    assert seen == [Path("other.npz")]
    assert (problems[0] if problems else "All checks passed (5 test images).") in result.output


def test_test_data_belong_to_a_bundle(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(tmp_path), "--data", "other.npz"])
    assert isinstance(result.exception, SettingsError)
    assert "must be given with a bundle" in str(result.exception)


@pytest.mark.parametrize("name", ["verify.py", "fp32.onnx"])
def test_a_bundle_whose_manifest_is_gone_is_told_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert isinstance(result.exception, StoredFileError)
    assert "manifest.json must be the manifest of a bundle, but it is missing" in str(result.exception)
    (tmp_path / "run.toml").write_text("")
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert "must be the manifest" not in str(result.exception)


def test_a_torn_manifest_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BundleError):
        check_bundle(tmp_path)
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert isinstance(result.exception, StoredFileError)
    assert "it is torn or altered" in str(result.exception)
