"""The pieces that the page is put together from, as HTML: sections, sentences, drawings. All text is escaped here."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

__all__ = ["Drawing", "drawing", "drawings", "json_script", "paragraph", "section"]

TOOLS: Final = (("in", "Zoom in", "+"), ("out", "Zoom out", "\N{MINUS SIGN}"), ("reset", "", "Reset view"))
FIRST_KEYS: Final = ("winner", "front-fp32", "front-int8", "front-fp16", "baseline", "cloud", "step")
"""Roles that a legend begins with, whatever is drawn over what."""


@dataclass(frozen=True)
class Drawing:
    """A drawing and the words around it.

    Attributes:
        key: unique in the page.
        figure: what is drawn.
        label: what it shows, in a sentence: what a screen reader says for it.
        caption: the text below it.
        heading: the text above it, where it is one of several.
        zoomable: whether there is anything to zoom into.
    """

    key: str
    figure: go.Figure
    label: str
    caption: str = ""
    heading: str = ""
    zoomable: bool = True


def section(key: str, heading: str, parts: Sequence[str], *, half: bool = False) -> str:
    """A section of the page, of half its width if `half`; `parts` are HTML."""
    width = ' class="half"' if half else ""
    return (
        f'<section{width} aria-labelledby="{key}"><h2 id="{key}">{html.escape(heading)}</h2>{"".join(parts)}</section>'
    )


def paragraph(text: str, style: str = "") -> str:
    """A sentence, with the CSS class `style`."""
    kind = f' class="{style}"' if style else ""
    return f"<p{kind}>{html.escape(text)}</p>"


def json_script(key: str, text: str) -> str:
    """JSON for the page's script, in an element of the class `key`; no string in it can end the element."""
    safe = text.replace("<", "\\u003c")
    return f'<script type="application/json" class="{key}">{safe}</script>'


def drawing(drawn: Drawing, *, extra: str = "", shape: str = "wide") -> str:
    """One drawing with its legend.

    Args:
        drawn: the drawing.
        extra: HTML that follows the legend.
        shape: the CSS class that sets its height; "own" where the figure has one.
    """
    return drawings([drawn], extra=extra, shape=shape)


def drawings(drawn: Sequence[Drawing], *, extra: str = "", shape: str = "wide", columns: str = "pair") -> str:
    """Several drawings side by side, with one legend that holds for all of them; see `drawing`.

    Args:
        drawn: the drawings.
        extra: HTML that follows the legend.
        shape: the CSS class that sets their height.
        columns: the CSS class that arranges them.
    """
    traces = {trace.meta["role"]: trace for one in reversed(drawn) for trace in one.figure.data}
    order = {role: place for place, role in enumerate(FIRST_KEYS)}
    roles = sorted(traces, key=lambda role: order.get(role, len(order)))
    keys = "".join(_key(traces[role]) for role in roles) if len(roles) > 1 else ""
    legend = f'<div class="legend">{keys}{extra}</div>' if keys or extra else ""
    figures = [_figure(one, shape) for one in drawn]
    if len(figures) > 1:
        figures = [f'<div class="{columns}">{"".join(figures)}</div>']
    return f'<div class="drawings">{legend}{figures[0]}</div>'


def _figure(one: Drawing, shape: str) -> str:
    heading = f"<h3>{html.escape(one.heading)}</h3>" if one.heading else ""
    caption = f"<figcaption>{html.escape(one.caption)}</figcaption>" if one.caption else ""
    tools = [*(TOOLS if one.zoomable else ()), ("save", "", "Save as SVG")]
    buttons = "".join(
        f'<button type="button" data-do="{do}"{_named(name)}>{shown}</button>' for do, name, shown in tools
    )
    height = f' style="height:{one.figure.layout.height}px"' if shape == "own" else ""
    return (
        f'<figure class="drawing" id="figure-{one.key}">{heading}'
        f'<div class="plot {shape}"{height} role="img" aria-label="{html.escape(one.label)}"></div>'
        f'{json_script("spec", one.figure.to_json())}<div class="tools">{buttons}</div>{caption}</figure>'
    )


def _key(trace: Any) -> str:
    """The legend's button that shows and hides the traces of one role."""
    role = trace.meta["role"]
    return (
        f'<button type="button" class="key" aria-pressed="true" data-role="{role}">'
        f'<span class="swatch {role}" aria-hidden="true"></span>{html.escape(trace.name)}</button>'
    )


def _named(name: str) -> str:
    return f' aria-label="{name}" title="{name}"' if name else ""
