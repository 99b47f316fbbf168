"""Errors foretold by an accuracy predictor against those that the search has evaluated, each network left out."""

from typing import Final

import plotly.graph_objects as go

from hwnas.predictors import HeldOut, PredictorQuality
from hwnas.reports.audits import ranking_words
from hwnas.reports.canvas import empty_figure

__all__ = ["accuracy_figure", "accuracy_label", "accuracy_sentence"]

PADDING: Final = 0.06


def accuracy_figure(quality: PredictorQuality) -> go.Figure:
    """Predicted against evaluated errors of networks held out, with their 90 % intervals and the line of agreement."""
    figure = empty_figure("Predicted error (%)", "Error as evaluated (%)")
    networks = quality.networks
    ends = [100 * end for one in networks for end in (one.error, one.predicted)]
    pad = PADDING * ((max(ends) - min(ends)) or max(ends) or 1.0)
    low, high = max(0.0, min(ends) - pad), max(ends) + pad
    figure.update_xaxes(range=(low, high))
    figure.update_yaxes(range=(low, high))
    figure.add_scatter(
        x=(low, high),
        y=(low, high),
        mode="lines",
        line={"color": "var(--muted)", "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
        name="prediction = evaluation",
        meta={"role": "agreement"},
    )
    figure.add_scatter(
        x=[100 * one.predicted for one in networks],
        y=[100 * one.error for one in networks],
        mode="markers",
        marker={"color": "var(--front)", "size": 6, "line": {"color": "var(--surface)", "width": 0.5}},
        error_x={
            "type": "data",
            "array": [100 * max(one.high - one.predicted, 0.0) for one in networks],
            "arrayminus": [100 * max(one.predicted - one.low, 0.0) for one in networks],
            "color": "var(--cloud)",
            "thickness": 1,
            "width": 0,
        },
        hovertext=[_hover(one) for one in networks],
        hoverinfo="text",
        name="network held out, with its 90% interval",
        meta={"role": "network"},
    )
    return figure


def accuracy_sentence(quality: PredictorQuality) -> str:
    """What cross-validation says of the predictor, for a caption."""
    return (
        f"{len(quality.networks)} networks that the search evaluated, each foretold by a predictor fitted without it. "
        f"The predictor's order: {ranking_words(quality.ranking)}; by MACs alone: {ranking_words(quality.macs)}. It errs by "
        f"{100 * quality.mean_absolute_error:.2f} points on average, and {100 * quality.coverage:.0f}% of the errors lie in "
        "their 90% interval."
    )


def accuracy_label(quality: PredictorQuality) -> str:
    """What the figure shows, for who cannot see it."""
    return f"Predicted against evaluated error of {len(quality.networks)} networks, each held out."


def _hover(one: HeldOut) -> str:
    choices = " ".join(map(str, one.choices))
    shown = choices if len(choices) <= 60 else choices[:60] + " …"
    return (
        f"<b>Evaluated: {100 * one.error:.2f}%</b><br>Predicted: {100 * one.predicted:.2f}%"
        f"<br>90% interval {100 * one.low:.2f} to {100 * one.high:.2f}%<br>choices {shown}"
    )
