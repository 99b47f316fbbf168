"""What the command line shows."""

from pathlib import Path

import pytest

from hwnas import objectives
from hwnas.api.picking import Pick
from hwnas.cli import screen
from hwnas.front import Candidate, Evaluation, ParetoFront
from hwnas.predictors import HeldOut, PredictorQuality
from hwnas.ranking import RankAgreement
from hwnas.testing import ToySpace


@pytest.mark.parametrize("told", [True, False])
def test_the_front_is_shown_with_how_well_errors_are_foretold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr(screen.console, "width", 160)
    macs = RankAgreement(40, None, None, None, None)
    ranking = RankAgreement(40, 0.812, (0.7, 0.9), 0.9, (0.8, 0.95))
    quality = PredictorQuality("gaussian_process", 10, ranking, macs, 0.01, 0.925, (HeldOut((0,), 0.1, 0.1, 0.0, 0.2),))
    space = ToySpace()
    evaluation = Evaluation(Candidate(space.largest()), {"error": 0.125})
    front = ParetoFront((evaluation,), (objectives.error(lambda _: []),))
    screen.show_front(front, space, Path("runs/x"), quality if told else None)
    shown = capsys.readouterr().out
    assert "12.50%" in shown
    line = (
        "Predictor of the error, on 1 networks held out: Kendall 0.81 (MACs alone: no order to compare); 92% of errors"
    )
    assert (line in shown) == told


def test_names_with_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_done("[red]runs[/red]")
    screen.show_error("key [x] is wrong")
    captured = capsys.readouterr()
    assert "[red]runs[/red]" in captured.out
    assert "key [x] is wrong" in captured.err


def test_progress_counts_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with screen.progress() as on_progress:
        for done in (1, 2):
            on_progress("training", done, 2, "loss [0.3]")
        on_progress("searching", 1, 4)
    shown = capsys.readouterr().out
    assert "2/2" in shown
    assert "1/4" in shown
    assert "loss [0.3]" in shown


@pytest.mark.parametrize("misses", [(), ("latency@rpi4 is 21.3 ms, 6.5% above 20 ms",)])
def test_a_pick_says_what_was_measured_and_what_it_misses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, misses: tuple[str, ...]
) -> None:
    monkeypatch.setattr(screen.console, "width", 160)
    values = {"error": 0.05, "macs": 2.5e6, "latency_ms@rpi4": 21.3}
    evaluation = Evaluation(Candidate(ToySpace().largest()), values)
    screen.show_pick(
        Pick(evaluation, "a network", values, frozenset({"latency_ms@rpi4"}), misses, Path("models/winner-1"))
    )
    shown = capsys.readouterr().out
    assert "a network: error 5 % (predicted), macs 2.5 M, latency@rpi4 21.3 ms (measured)" in shown
    assert ("6.5% above 20 ms" in shown) == bool(misses)
