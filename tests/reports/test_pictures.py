from pathlib import Path

import pytest
from PIL import Image

from hwnas.errors import SettingsError, StoredFileError
from hwnas.reports.comparisons import compare_latencies
from hwnas.reports.documents import load_run
from hwnas.reports.pictures import WINNER, draw_audit, draw_predictions


def pixels(path: Path, colour: str) -> int:
    """How many pixels of a picture have exactly this colour."""
    wanted = tuple(bytes.fromhex(colour.removeprefix("#")))
    with Image.open(path) as picture:
        counted = picture.convert("RGB").getcolors(maxcolors=2**24)
    return sum(count for count, found in counted if found == wanted)


def test_the_picture_shows_networks_and_models(proven_table, run_folder, tmp_path):
    compared = compare_latencies(load_run(run_folder.write()).models, "rpi4")
    alone = draw_predictions(proven_table, tmp_path / "alone.png")
    both = draw_predictions(proven_table, tmp_path / "both.png", compared)
    with Image.open(alone) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 800
    assert pixels(alone, WINNER) == 0 < pixels(both, WINNER)
    assert pixels(alone, "#0068a8") > 0
    assert pixels(alone, "#e3edf5") > 0  # the band


def test_a_picture_that_cannot_be_written_leaves_nothing(proven_table, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoredFileError):
        draw_predictions(proven_table, tmp_path / "file" / "q.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_the_audit_as_a_picture(audit, tmp_path, ending):
    path = draw_audit(audit, tmp_path / f"audit{ending}")
    if ending == ".png":
        assert pixels(path, WINNER) > 0
        assert pixels(path, "#0068a8") + pixels(path, "#408ebe") > 0  # a network, of three quarters' opacity
        return
    text = path.read_text()
    assert text.count("#b84a00") >= 2
    assert "<svg" in text
    assert text == draw_audit(audit, tmp_path / "again.svg").read_text()  # no date, no random ids


def test_a_picture_of_another_kind_is_refused(audit, tmp_path):
    with pytest.raises(SettingsError, match=r"must end in \.svg or \.png, but it ends in '\.pdf'"):
        draw_audit(audit, tmp_path / "audit.pdf")
