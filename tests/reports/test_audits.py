import pytest

from hwnas.rank_audit import RankAudit
from hwnas.ranking import RankAgreement
from hwnas.reports.audits import audit_figure, audit_sentence, others, ranking_words, y_title


def traces(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def test_every_network_is_drawn_and_the_pick_stands_out(audit):
    drawn = traces(audit_figure(audit))
    assert set(drawn) == {"shift", "network", "winner"}
    points = sorted(
        zip([*drawn["network"].x, *drawn["winner"].x], [*drawn["network"].y, *drawn["winner"].y], strict=True)
    )
    assert points == sorted((100 * one.supernet_error, 100 * one.alone_error) for one in audit.entries)
    assert drawn["winner"].x[0] == 100 * audit.pick.supernet_error == min(x for x, _ in points)
    assert drawn["shift"].y[0] - drawn["shift"].y[-1] == pytest.approx(100 * audit.regret)


def test_without_regret_there_is_no_way_to_the_best(audit):
    entries = [one for one in audit.entries if one.alone_error >= audit.pick.alone_error]
    assert "shift" not in traces(audit_figure(RankAudit.of(entries, source="published", data="x")))
    alone = RankAudit.of([audit.pick], source="published", data="x")
    assert set(traces(audit_figure(alone))) == {"winner"}
    assert others(alone) == []
    assert "1 network, " in audit_sentence(alone)
    assert "no order to compare" in audit_sentence(alone)


def test_the_caption_says_both_orders_and_the_regret(audit):
    said = audit_sentence(audit)
    assert said.startswith("24 networks, each trained alone on digits, for 5 epochs. ")
    assert f"The supernet's order: Kendall {audit.supernet.kendall:.2f} (95% interval " in said
    assert f"by MACs alone: Kendall {audit.macs.kendall:.2f}" in said
    assert f"a regret of {100 * audit.regret:.2f} points." in said
    published = RankAudit.of(audit.entries, source="published", data="my images", alone_data="CIFAR-10")
    assert audit_sentence(published).startswith(
        "24 networks, published errors on CIFAR-10; the supernet was trained and scored on my images. "
    )
    assert y_title(published) != y_title(audit)


def test_a_turned_order_has_a_minus():
    turned = RankAgreement(9, -0.5, (-0.9, 0.1), -0.6, (-0.9, 0.1))
    assert ranking_words(turned) == "Kendall −0.50 (95% interval −0.90 to 0.10), Spearman −0.60"


def test_descriptions_cannot_bring_markup_into_a_hover(audit):
    assert "<b>k3" not in "".join(traces(audit_figure(audit))["network"].hovertext)
    assert "&lt;b&gt;k3" in "".join(traces(audit_figure(audit))["network"].hovertext)
