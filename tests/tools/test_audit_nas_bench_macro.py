import json
from dataclasses import replace

import pytest
from PIL import Image

from hwnas.api.run_folder import RunFolder, open_run
from hwnas.errors import RunError
from hwnas.rank_audit import AuditEntry, RankAudit
from hwnas.spaces import Architecture
from hwnas.training import TrainingSettings


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("audit_nas_bench_macro")


@pytest.fixture
def images(tmp_path):
    """Ten classes of five images."""
    for number in range(10):
        folder = tmp_path / "images" / f"class{number}"
        folder.mkdir(parents=True)
        for index in range(5):
            Image.new("RGB", (32, 32), (20 * number, 50 * index, 0)).save(folder / f"{index}.png")
    return tmp_path / "images"


@pytest.mark.parametrize("preset", ["cpu", "gpu"])
def test_a_preset_is_changed_by_the_command_line(tool, preset):
    plain = tool.settings_of(tool.parse(["images", "--preset", preset]))
    assert plain.training == TrainingSettings(**tool.PRESETS[preset])
    assert plain.validation_images == {"cpu": 2000, "gpu": None}[preset]
    given = ["images", "--preset", preset, "--training", '{"epochs": 3}', "--validation-images", "50", "--seed", "4"]
    changed = tool.settings_of(tool.parse(given))
    assert changed.training == replace(plain.training, epochs=3)
    assert (changed.validation_images, changed.seed) == (50, 4)


def test_what_is_told_is_what_the_run_folder_says(tool, images, tmp_path):
    given = tool.parse([str(images), "--preset", "cpu", "--training", '{"epochs": 3}'])
    RunFolder(tmp_path / "run", tool.settings_of(given)).begin()
    entries = [AuditEntry(Architecture("nas_bench_macro", (n,) * 8), "", n, 0.2 - n / 100, 0.1) for n in (0, 1, 2)]
    audit = RankAudit.of(entries, source="published", data="images", alone_data="CIFAR-10")
    told = tool.describe(open_run(tmp_path / "run"), audit)
    assert told["training"]["epochs"] == 3
    assert told["training"]["method"] == "single_path"
    assert told["train_images"] == 30
    assert told["architectures"] == 3
    assert told["best_published_accuracy"] == pytest.approx(0.9313, abs=5e-5)
    json.dumps(told)


def test_a_run_begun_by_other_settings_is_refused(tool, images, tmp_path, monkeypatch):
    small = {"epochs": 3, "batch_size": 8}
    given = [str(images), "--preset", "cpu", "--output", str(tmp_path / "run"), "--training"]
    RunFolder(tmp_path / "run", tool.settings_of(tool.parse([*given, json.dumps(small)]))).begin()
    (tmp_path / "run" / "supernet.pt").touch()
    monkeypatch.setattr("sys.argv", ["tool", *given, json.dumps({**small, "epochs": 4})])
    with pytest.raises(RunError, match=r"must be of training\.epochs = 4, but its results are of 3"):
        tool.main()
