"""The rank audit drawn: the error with the supernet's weights against that of the same network trained alone."""

import html
from typing import Final

import plotly.graph_objects as go

from hwnas.rank_audit import AuditEntry, RankAudit
from hwnas.ranking import RankAgreement
from hwnas.reports.canvas import empty_figure
from hwnas.reports.quantities import scale_for

__all__ = [
    "PICK_NAME",
    "X_TITLE",
    "audit_figure",
    "audit_label",
    "audit_sentence",
    "others",
    "ranking_words",
    "y_title",
]

X_TITLE: Final = "Error with the supernet's weights (%)"
PICK_NAME: Final = "ranked first by the supernet"
REGRET_NAME: Final = "from it to the best alone"


def audit_figure(audit: RankAudit) -> go.Figure:
    """Every network of an audit; the one that the supernet ranks first, and how far it is from the best."""
    figure = empty_figure(X_TITLE, y_title(audit))
    pick, best = audit.pick, audit.best
    rest = others(audit)
    if rest:
        figure.add_scatter(
            x=[100 * one.supernet_error for one in rest],
            y=[100 * one.alone_error for one in rest],
            mode="markers",
            marker={"color": "var(--front)", "size": 8, "opacity": 0.75 if len(rest) <= 200 else 0.4},
            hovertext=[_hover(one) for one in rest],
            hoverinfo="text",
            name="network",
            meta={"role": "network"},
        )
    figure.add_scatter(
        x=[100 * pick.supernet_error],
        y=[100 * pick.alone_error],
        mode="markers",
        marker={
            "color": "var(--winner)",
            "symbol": "square",
            "size": 13,
            "line": {"color": "var(--surface)", "width": 1.5},
        },
        hovertext=[_hover(pick)],
        hoverinfo="text",
        cliponaxis=False,
        name=PICK_NAME,
        meta={"role": "winner"},
    )
    if audit.regret > 0:
        figure.add_scatter(
            x=[100 * pick.supernet_error] * 2 + [100 * best.supernet_error],
            y=[100 * pick.alone_error] + [100 * best.alone_error] * 2,
            mode="lines",
            line={"color": "var(--winner)", "width": 1.5, "dash": "dot"},
            hoverinfo="skip",
            name=REGRET_NAME,
            meta={"role": "shift"},
        )
    return figure


def audit_sentence(audit: RankAudit) -> str:
    """What the audit says, for a caption."""
    count = len(audit.entries)
    networks = f"{count:,} network" + ("" if count == 1 else "s")
    if audit.source == "published":
        origin = f"published errors on {audit.alone_data}; the supernet was trained and scored on {audit.data}"
    else:
        epochs = "" if audit.epochs is None else f", for {audit.epochs} epoch" + ("" if audit.epochs == 1 else "s")
        origin = f"each trained alone on {audit.data}{epochs}"
    regret = scale_for("fraction", [audit.pick.alone_error, audit.best.alone_error])
    return (
        f"{networks}, {origin}. The supernet's order: {ranking_words(audit.supernet)}; by MACs alone: "
        f"{ranking_words(audit.macs)}. The network that the supernet ranks first has {regret.write(audit.pick.alone_error)} "
        f"error alone, the best of them {regret.write(audit.best.alone_error)}: a regret of "
        f"{100 * audit.regret:.2f} points."
    )


def audit_label(audit: RankAudit) -> str:
    """What the figure shows, for who cannot see it."""
    return f"Error with the supernet's weights against error alone for {len(audit.entries)} networks."


def ranking_words(ranking: RankAgreement) -> str:
    """Both correlations: "Kendall 0.72 (95% interval 0.61 to 0.81), Spearman 0.88"."""
    if ranking.kendall is None or ranking.spearman is None:
        return "no order to compare"
    interval = ""
    if ranking.kendall_ci95 is not None:
        interval = " (95% interval {:.2f} to {:.2f})".format(*ranking.kendall_ci95)
    words = f"Kendall {ranking.kendall:.2f}{interval}, Spearman {ranking.spearman:.2f}"
    return words.replace("-", "\N{MINUS SIGN}")


def y_title(audit: RankAudit) -> str:
    """The title of the errors alone."""
    return "Published error (%)" if audit.source == "published" else "Error when trained alone (%)"


def others(audit: RankAudit) -> list[AuditEntry]:
    """The networks that the supernet does not rank first."""
    return [one for one in audit.entries if one is not audit.pick]


def _hover(one: AuditEntry) -> str:
    macs = scale_for("MACs", [one.macs]).write(one.macs)
    return (
        f"<b>{html.escape(one.description)}</b><br>With the supernet's weights: {100 * one.supernet_error:.2f}%"
        f"<br>Alone: {100 * one.alone_error:.2f}%<br>MACs: {macs}"
    )
