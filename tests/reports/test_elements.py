import json
import re

import plotly.graph_objects as go

from hwnas.reports.elements import Drawing, drawing, drawings, json_script, paragraph, section


def figure(*roles):
    return go.Figure([go.Scatter(x=[1], y=[2], name=f"<{role}>", meta={"role": role}) for role in roles])


def test_one_legend_holds_for_all_drawings_and_begins_with_what_matters():
    html = drawings([Drawing("a", figure("cloud", "winner"), "A."), Drawing("b", figure("cloud", "shift"), "B.")])
    assert re.findall(r'data-role="([a-z]+)"', html) == ["winner", "cloud", "shift"]
    assert html.count('class="legend"') == 1
    assert "&lt;cloud&gt;" in html


def test_a_single_line_needs_no_legend():
    assert "legend" not in drawing(Drawing("a", figure("progress"), "A."))
    assert "legend" in drawing(Drawing("a", figure("progress"), "A."), extra="<i></i>")


def test_what_cannot_be_zoomed_has_no_buttons_for_it():
    assert re.findall(r'data-do="([a-z]+)"', drawing(Drawing("a", figure("x"), "A."))) == ["in", "out", "reset", "save"]
    assert re.findall(r'data-do="([a-z]+)"', drawing(Drawing("a", figure("x"), "A.", zoomable=False))) == ["save"]


def test_text_is_escaped_and_json_cannot_end_its_element():
    assert paragraph("a < b", "missing") == '<p class="missing">a &lt; b</p>'
    assert 'class="half"' in section("k", "<h>", [], half=True)
    html = json_script("spec", json.dumps("</script>"))
    assert html.count("</script>") == 1
    assert (
        json.loads(html.removeprefix('<script type="application/json" class="spec">')[: -len("</script>")])
        == "</script>"
    )
