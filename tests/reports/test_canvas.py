from hwnas.reports.canvas import empty_figure, error_bars


def test_titles_are_text_and_colours_names():
    layout = empty_figure("<b>x", "y & z").layout
    assert layout.xaxis.title.text == "&lt;b&gt;x"
    assert layout.annotations[0].text == "y &amp; z"
    assert layout.font.color == "var(--ink)"


def test_error_bars_reach_above_and_below():
    bars = error_bars([1.0], [0.5], "var(--front)", width=0)
    assert (bars["array"], bars["arrayminus"], bars["width"]) == ([1.0], [0.5], 0)
