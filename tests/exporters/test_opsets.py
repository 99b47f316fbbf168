import onnx
import pytest

from hwnas.errors import SettingsError
from hwnas.exporters import opsets
from hwnas.exporters.opsets import OLDEST_OPSET, newest_opset, require_opset


def test_the_newest_is_one_that_both_can_do():
    newest = newest_opset()
    assert OLDEST_OPSET < newest <= onnx.defs.onnx_opset_version()
    assert opsets._converts(newest)
    assert opsets._loads(newest)
    assert newest == onnx.defs.onnx_opset_version() or not (opsets._converts(newest + 1) and opsets._loads(newest + 1))


@pytest.mark.parametrize("wrong", [17, 9, 0, -1, 1000, True, 20.0, "20"])
def test_others_are_refused_with_the_range_that_works(wrong):
    with pytest.raises(SettingsError) as caught:
        require_opset(wrong)
    assert str(caught.value).startswith(f"opset must be from 18 to {newest_opset()}, which the installed torch exports")
    assert str(caught.value).endswith(f"but {wrong!r} came.")


def test_a_runtime_that_reads_less_narrows_it(monkeypatch):
    monkeypatch.setattr(opsets, "_loads", lambda opset: opset <= 19)
    assert newest_opset.__wrapped__() == 19
    monkeypatch.setattr(opsets, "_converts", lambda opset: False)
    assert newest_opset.__wrapped__() == 18
