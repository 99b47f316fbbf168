"""The report in a real browser: every control does what it says, in light, dark and on a phone, and nothing goes wrong."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hwnas.reports import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'hwnas[browser]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")

PATIENCE_MS = 180_000  # a busy machine is no failure
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", "reduced_motion": "reduce"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "tablet": {"viewport": {"width": 768, "height": 1024}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


@pytest.fixture(scope="module")
def report(example: Any) -> Path:
    return write_report(example.path, example.tables, example.space)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def open_page(browser: Any) -> Iterator[Any]:
    """Opens a page in one of the LOOKS; at the end none must have said anything on the console or asked for anything."""
    contexts, said = [], []

    def opened(path: Path, look: str = "light") -> Any:
        context = browser.new_context(**LOOKS[look])
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
        page.goto(path.as_uri())
        page.wait_for_function("document.querySelectorAll('.plot .main-svg').length > 0")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="module")
def light(open_page: Any, report: Path) -> Any:
    return open_page(report)


@pytest.fixture
def page(light: Any) -> Iterator[Any]:
    """The page in the light, as it was when it was opened: opening it anew takes a while."""
    light.evaluate("scrollTo(0, 0)")
    yield light
    light.evaluate("document.querySelector('form.bounds').reset()")
    for key in light.locator(".key[aria-pressed=false]").all():
        key.click()
    light.locator("#figure-front-0 [data-do=reset]").click()


def shift(page: Any) -> float:
    """How far the page below the bounds lies from its top."""
    return float(page.evaluate("document.querySelector('.chooser').getBoundingClientRect().top + scrollY"))


def bound(page: Any, title: str) -> Any:
    return page.get_by_role("spinbutton", name=title)


def contrast(page: Any) -> float:
    """The least contrast between a colour of text and what may be behind it (WCAG 2)."""
    ratio = page.evaluate(
        """() => {
          const style = getComputedStyle(document.documentElement);
          const light = (name) => {
            const found = /^#(..)(..)(..)$/.exec(style.getPropertyValue(name).trim());
            const parts = found.slice(1).map((part) => parseInt(part, 16) / 255);
            const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const names = ["--ink", "--muted", "--front", "--winner", "--baseline", "--warning"];
          const grounds = ["--surface", "--page"];
          return Math.min(...names.flatMap((name) => grounds.map((ground) => {
            const [dark, pale] = [light(name), light(ground)].sort((a, b) => a - b);
            return (pale + 0.05) / (dark + 0.05);
          })));
        }"""
    )
    return float(ratio)


def test_paper_shows_every_drawing_within_its_width(open_page, report):
    page = open_page(report, "dark")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794, "height": 1123})
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(300)
    wide = page.evaluate(
        """() => [...document.querySelectorAll('.plot')].filter((one) => {
          const { left, right, width } = one.getBoundingClientRect();
          return width > 0 && (left < 0 || right > innerWidth);
        }).map((one) => one.id)"""
    )
    assert wide == []
    places = page.evaluate(
        "[...document.querySelectorAll('.trio .plot')].map((one) => one.getBoundingClientRect().left)"
    )
    assert len(places) > 1
    assert len(set(places)) == 1  # one below the other


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_fits_the_screen_and_every_drawing_is_drawn(open_page, report, look):
    page = open_page(report, look)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.wait_for_selector(".architecture svg")
    assert not page.locator(".plot").last.locator(".main-svg").count()  # what is far below is not drawn yet
    for figure in page.locator("figure.drawing").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
    assert contrast(page) >= 4.5
    wide = page.evaluate("document.querySelector('.architecture svg').getBoundingClientRect().right <= innerWidth")
    assert wide
    page.emulate_media(media="print")
    assert page.locator("form.bounds").is_hidden()


def test_a_bound_dims_what_does_not_fit_and_names_the_best_that_does(page, example):
    before = shift(page)
    bound(page, "Latency on rpi4").fill("1.5")
    verdict = page.locator("#verdict").inner_text()
    total = page.get_by_role("option").count()
    count = int(re.match(rf"(\d+) of {total} fit", verdict).group(1))
    assert 0 < count < total
    assert page.locator("[role=option].dim").count() == total - count
    fitting = page.locator("[role=option]:not(.dim)").first  # the list begins with the most accurate
    assert f"front:{fitting.get_attribute('data-key').removeprefix('front-')}" in verdict
    assert fitting.get_attribute("aria-selected") == "true"
    assert page.locator(".command code").inner_text().endswith('"latency@rpi4 <= 1.5 ms"')
    page.wait_for_function("text => document.querySelector('[role=status]').textContent === text", arg=verdict)
    opacities = page.evaluate(
        """() => document.querySelector('#figure-front-1 .plot').data
             .filter((trace) => /^front-/.test(trace.meta.role)).flatMap((trace) => trace.marker.opacity)"""
    )
    assert sum(opacity < 0.2 for opacity in opacities) == total - count
    assert shift(page) == pytest.approx(before, abs=1)  # nothing below has moved
    page.get_by_role("button", name="Clear the bounds").click()
    assert page.locator("[role=option].dim").count() == 0
    assert bound(page, "Latency on rpi4").input_value() == ""


def test_where_nothing_fits_the_nearest_miss_is_named(page):
    bound(page, "Error").fill("6.5")
    bound(page, "Latency on rpi4").fill("1")
    verdict = page.locator("#verdict").inner_text()
    assert re.match(r"None fits\. The nearest miss is front:\d+.*% over its bound", verdict)
    assert page.locator("[role=option]:not(.dim)").count() == 0
    assert page.locator(".command code").inner_text().endswith('"error <= 6.5% and latency@rpi4 <= 1 ms"')


def test_a_slider_and_its_field_say_the_same(page):
    slider = page.get_by_role("slider", name="Latency on local-cpu")
    assert slider.get_attribute("aria-valuetext") == "no bound"
    slider.focus()
    page.keyboard.press("PageDown")
    page.keyboard.press("ArrowLeft")
    value = bound(page, "Latency on local-cpu").input_value()
    assert slider.get_attribute("aria-valuetext") == f"{value}\N{NO-BREAK SPACE}ms"
    bound(page, "Latency on local-cpu").fill("0.001")
    assert slider.input_value() == "0"
    slider.focus()
    page.keyboard.press("End")
    assert bound(page, "Latency on local-cpu").input_value() == ""


def test_the_keyboard_goes_through_the_front(page):
    page.get_by_role("listbox").focus()
    page.keyboard.press("Home")
    first = page.locator("#architecture h3").inner_text()
    page.keyboard.press("ArrowDown")
    second = page.get_by_role("option").nth(1)
    assert second.get_attribute("aria-selected") == "true"
    assert page.get_by_role("listbox").get_attribute("aria-activedescendant") == second.get_attribute("id")
    assert page.locator("#architecture h3").inner_text() != first
    page.keyboard.press("End")
    assert page.get_by_role("option").last.get_attribute("aria-selected") == "true"
    assert page.get_by_role("option").last.is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.matches('#architecture h3')")


def test_a_click_on_a_point_shows_its_network_and_marks_it_in_both_planes(page):
    page.locator("[role=option]").last.click()
    page.locator("#figure-front-1 .plot").scroll_into_view_if_needed()
    x, y, key = page.evaluate(
        """() => {
          const plot = document.querySelector('#figure-front-1 .plot');
          const { xaxis, yaxis } = plot._fullLayout;
          const box = plot.getBoundingClientRect();
          const points = plot.data.filter((one) => one.customdata && one.meta.role !== 'interval').flatMap((one) =>
            one.customdata.map((key, index) => ({ key, role: one.meta.role,
              x: box.left + xaxis._offset + xaxis.d2p(one.x[index]),
              y: box.top + yaxis._offset + yaxis.d2p(one.y[index]) })));
          const alone = (one) => Math.min(...points.filter((other) => other !== one)
            .map((other) => Math.hypot(other.x - one.x, other.y - one.y)));
          const { x, y, key } = points.filter((one) => one.role === 'winner').sort((a, b) => alone(b) - alone(a))[0];
          return [x, y, key];
        }"""
    )
    page.mouse.move(x, y)
    page.wait_for_selector("#figure-front-1 .hoverlayer .hovertext")
    page.mouse.click(x, y)
    page.wait_for_function(
        "key => document.querySelector(`#option-${key}`).getAttribute('aria-selected') === 'true'", arg=key
    )
    assert page.locator("#architecture h3").inner_text().startswith(key.replace("-", ":"))
    page.wait_for_function(
        """() => [0, 1].every((number) => {
          const { data } = document.querySelector(`#figure-front-${number} .plot`);
          return data.find((one) => one.meta.role === 'chosen').x.length === 2;  // its estimate and its export
        })"""
    )


def test_the_blocks_of_a_network_add_up_to_its_prediction(page, example):
    document = page.evaluate("JSON.parse(document.querySelector('script.choices').textContent)")
    member = document["candidates"][0]
    for device in ("local-cpu", "rpi4"):
        blocks = [document["blocks"][str(number)]["ms"][device][member["precision"]] for number in member["blocks"]]
        total = sum(blocks) + document["overhead"][device][member["precision"]]
        assert total == pytest.approx(member["estimates"][f"latency_ms@{device}"], rel=1e-9)
    page.get_by_role("option").nth(2).click()
    shown = next(
        one
        for one in document["candidates"]
        if one["key"] == page.get_by_role("option").nth(2).get_attribute("data-key")
    )
    rows = page.locator("table.blocks tbody tr")
    assert rows.count() == page.locator(".architecture svg .block").count() == len(shown["blocks"])
    assert rows.first.locator(".title").inner_text().strip() == document["blocks"][str(shown["blocks"][0])]["title"]


def test_zoom_reset_and_legend(page):
    def ends() -> list[float]:
        return list(page.evaluate("document.querySelector('#figure-front-0 .plot')._fullLayout.xaxis.range"))

    before = ends()
    figure = page.locator("#figure-front-0")
    figure.get_by_role("button", name="Zoom in").click()
    assert ends()[1] - ends()[0] == pytest.approx((before[1] - before[0]) / 1.5)
    bound(page, "Error").fill("8")  # drawing anew keeps the view
    page.wait_for_timeout(100)
    assert ends() != pytest.approx(before)
    figure.get_by_role("button", name="Reset view").click()
    assert ends() == pytest.approx(before)
    key = page.get_by_role("button", name="evaluated, off the front")
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    hidden = page.evaluate(
        """() => [0, 1].map((number) => document.querySelector(`#figure-front-${number} .plot`).data
             .find((trace) => trace.meta.role === 'cloud').visible)"""
    )
    assert hidden == [False, False]  # one legend for both planes


def test_a_drawing_is_saved_as_it_is_shown(page):
    with page.expect_download() as download:
        page.locator("#figure-front-0").get_by_role("button", name="Save as SVG").click()
    assert download.value.suggested_filename == "figure-front-0.svg"


def test_tables_are_sorted_and_found_from_the_drawings(page):
    head = page.get_by_role("button", name="Test accuracy (%)").first
    head.click()
    values = page.eval_on_selector_all(
        "#caption-models ~ tbody tr", "rows => rows.map((row) => Number(row.cells[2].dataset.sort))"
    )
    assert values == sorted(values)
    page.evaluate("report.choose('baseline-A')")
    assert page.evaluate("document.activeElement.id") == "baseline-A"


def test_everything_can_be_reached_with_the_tab_key_and_shows_that_it_has_the_focus(page):
    seen = set()
    page.locator("form.bounds [type=range]").first.focus()
    page.keyboard.press("Shift+Tab")  # the first of the page
    for _ in range(300):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const one = document.activeElement;
              if (one === document.body) return null;
              const style = getComputedStyle(one);
              return [one.tagName + (one.getAttribute('role') ?? one.type ?? ''), style.outlineStyle];
            }"""
        )
        if found is None:
            break
        assert found[1] != "none", found
        seen.add(found[0])
    assert {"INPUTrange", "INPUTnumber", "ULlistbox", "BUTTONbutton", "DIVregion", "SUMMARY", "A"} <= seen


COLOUR = """document.querySelector('#figure-front-0 .plot').data
              .find((trace) => /^front-/.test(trace.meta.role)).marker.color"""


def test_motion_is_reduced_where_that_is_asked_for(open_page, report, page):
    """And where it is not, a jump within the page is smooth."""
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert page.evaluate(behaviour) == "auto"
    assert open_page(report, "dark").evaluate(behaviour) == "smooth"
    moving = """() => [...document.querySelectorAll("*")].filter((one) => {
      const style = getComputedStyle(one);
      return style.animationName !== "none" || !/^(0s(, )?)+$/.test(style.transitionDuration);
    }).map((one) => one.tagName + "." + one.getAttribute("class"))"""
    assert page.evaluate(moving) == []


def test_the_table_of_models_fits_a_wide_screen(page, example):
    """Two precisions on two devices; on narrow screens it scrolls."""
    widths = page.evaluate(
        "[...document.querySelectorAll('.table-scroll')].filter((one) => one.querySelector('#caption-models'))"
        ".map((one) => [one.scrollWidth, one.clientWidth])"
    )
    assert len(widths) == 1
    assert all(inner <= outer for inner, outer in widths)


def test_colours_follow_the_scheme(page):
    light = page.evaluate(COLOUR)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => {COLOUR} !== light", arg=light)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(COLOUR) == light  # paper is white
    assert (
        page.locator(".plot .main-svg").count() >= page.locator(".plot").count()
    )  # and shows all that is further down
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(COLOUR) != light
    page.emulate_media(color_scheme="light")


def test_a_run_that_lacks_everything_but_a_front_opens_without_a_complaint(open_page, run_folder):
    run_folder.settings = run_folder.evaluations = run_folder.progress = run_folder.verification = None
    page = open_page(write_report(run_folder.write()), "phone")
    assert page.get_by_role("option").count() == 3
    page.get_by_role("option").last.click()
    assert page.locator("#architecture h3").inner_text().startswith("front:")
    assert "blocks of the networks are not shown" in page.locator(".architecture").inner_text()


def test_without_scripts_the_numbers_are_there(browser, report):
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("form.bounds").is_hidden()
    assert page.locator("#model-1").is_visible()
    context.close()
