"""An empty drawing with the looks of all of them.

Colours and fonts are names of CSS custom properties ("var(--front)"). The page's script looks them up when it draws,
and again when the reader's colour scheme changes, so that one drawing serves light, dark and print. A trace's
`meta.role` says what it shows; the page makes its legend from that.
"""

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

__all__ = ["empty_figure", "error_bars"]


def empty_figure(x_title: str, y_title: str) -> go.Figure:
    """A figure with the looks of all of them and nothing drawn; the y axis has its title above it."""
    axis = {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "tickcolor": "var(--line)",
        "tickfont": {"color": "var(--muted)", "size": 12},
        "automargin": True,
        "fixedrange": False,
    }
    above = {
        "text": html.escape(y_title),
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 8,
        "showarrow": False,
        "font": {"color": "var(--ink)", "size": 13},
    }
    return go.Figure(
        layout={
            "template": "none",
            "autosize": True,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "var(--font)", "color": "var(--ink)", "size": 13},
            "margin": {"l": 44, "r": 14, "t": 34, "b": 48},
            "showlegend": False,
            "hovermode": "closest",
            "hoverlabel": {
                "bgcolor": "var(--surface)",
                "bordercolor": "var(--line)",
                "align": "left",
                "font": {"family": "var(--font)", "color": "var(--ink)", "size": 13},
            },
            "xaxis": {
                **axis,
                "showline": True,
                "ticks": "outside",
                "title": {"text": html.escape(x_title), "standoff": 10, "font": {"color": "var(--ink)", "size": 13}},
            },
            "yaxis": axis,
            "annotations": [above],
        }
    )


def error_bars(above: Sequence[float], below: Sequence[float], colour: str, *, width: float = 4) -> dict[str, Any]:
    """Error bars that reach so far `above` and `below` the points, with caps `width` px wide to either side."""
    return {"type": "data", "array": above, "arrayminus": below, "color": colour, "thickness": 1.5, "width": width}
