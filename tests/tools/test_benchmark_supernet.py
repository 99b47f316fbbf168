import pytest

from hwnas.training.methods import Differentiable


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("benchmark_supernet")


@pytest.fixture(scope="module")
def setting(tool):
    given = tool.parse(
        ["--input-shape", "1x8x8", "--space-option", '{"width_mult": 0.25}', "--batch-size", "8", "--rounds", "1"]
    )
    return tool.make_setting(given)


@pytest.mark.parametrize(("method", "passes"), [("sandwich", 4), ("single_path", 1), ("progressive_shrinking", 3)])
def test_a_step_is_compared_with_the_passes_that_it_consists_of(tool, setting, method, passes):
    found = tool.training(setting, method)
    assert found["passes_a_step"] == passes
    assert found["step_over_its_passes"] > 0
    assert found["images_a_second"] > 0
    assert found["peak_memory_mib"] >= found["peak_memory_before_mib"] > 0


def test_the_steps_of_the_logits_are_in_the_mean(tool, setting, monkeypatch):
    weighed = []
    factor = Differentiable._latency_factor
    monkeypatch.setattr(Differentiable, "_latency_factor", lambda self, w: weighed.append(1) or factor(self, w))
    found = tool.training(setting, "differentiable")
    assert len(weighed) == 1 + (tool.STEPS_FOR_MEMORY + 4) // 4  # once beforehand, then at every fourth step
    assert found["images_a_second"] > 0
    assert "step_over_its_passes" not in found


def test_an_evaluation_is_compared_with_its_forward_passes(tool, setting):
    found = tool.evaluation(setting)
    assert found["over_its_passes"] > 0
    assert found["evaluations_a_minute"] > 0
