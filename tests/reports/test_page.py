import itertools
import json
import re
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs

from hwnas.reports import write_report
from hwnas.reports.audits import audit_figure
from hwnas.reports.documents import load_run
from hwnas.reports.foretold import accuracy_figure
from hwnas.reports.page import compose_page

EVIL = """</script><script>alert("1")</script><img src=x onerror='alert(2)'>&amp;$title"""
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """The page's elements, ids, headings and drawings; `broken` names tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.broken, self.headings, self.specs, self.text = [], [], [], [], [], ""
        self.feed(text)
        self.broken += self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            if self.elements[-1][1].get("class") == "spec":
                self.specs.append(json.loads(data))
            return
        if self.open[-1:] != ["style"]:
            self.text += data
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def compose(run_folder):
    """The page without plotly.js, which is not ours and slow to parse."""
    return compose_page(load_run(run_folder.write())).replace(get_plotlyjs(), "")


def test_the_report_is_written_into_the_folder(run_folder):
    path = write_report(run_folder.write())
    assert path == run_folder.path / "report.html"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("* plotly.js v") == 1


def test_nothing_is_loaded_from_anywhere(run_folder):
    text = compose(run_folder)
    page = Page(text)
    assert {name for name, _ in page.elements} & {"link", "img", "iframe", "object", "embed"} == set()
    assert all("src" not in attributes for _, attributes in page.elements)
    named = text.replace('"http://www.w3.org/2000/svg"', "")  # a name, which nothing is fetched from
    assert re.search(r"@import|url\(|https?://|fetch\(|import\(", named) is None
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")


def test_links_stay_in_the_run_folder(run_folder):
    assert [link["href"] for link in Page(compose(run_folder)).all("a")] == [
        f"models/winner-{number}/fp32.onnx" for number in (1, 2, 3)
    ]


def test_the_page_is_well_formed_and_can_be_read_aloud(run_folder):
    page = Page(compose(run_folder))
    assert page.broken == []
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes]
    assert set(named) <= set(ids)
    plots = [attributes for attributes in page.all("div") if attributes.get("class", "").startswith("plot ")]
    assert len(plots) == len(page.specs) == 7  # two fronts, two predictions, twice the hypervolume, the time
    assert all(plot["role"] == "img" and plot["aria-label"].endswith(".") for plot in plots)
    assert len(page.all("figcaption")) == 3  # the predictions and the time; the others' words stand above them


def test_each_legend_key_names_its_trace(run_folder):
    page = Page(compose(run_folder))
    keys = [attributes["data-role"] for attributes in page.all("button") if "data-role" in attributes]
    fronts, predictions = ({trace["meta"]["role"] for trace in page.specs[index]["data"]} for index in (0, 2))
    assert (
        len(keys) == len(set(keys)) == len(fronts) + len(predictions)
    )  # once for both devices, none for a single line
    assert set(keys) == fronts | predictions
    style = compose(run_folder).split("<style>")[1].split("</style>")[0]
    for spec in page.specs:
        for trace in spec["data"]:
            role = trace["meta"]["role"]
            assert role in ("front-fp32", "band") or f".swatch.{role}" in style


def test_every_property_that_drawings_name_is_set_by_the_style(run_folder):
    text = compose(run_folder)
    style = text.split("<style>")[1].split("</style>")[0]
    used = set(re.findall(r"var\((--[a-z-]+)\)", text))
    assert used
    used -= {"--columns"}  # set where it is used
    assert used <= set(re.findall(r"(--[a-z-]+):", style))
    dark = style.split("prefers-color-scheme: dark")[1].split("}")[0]
    colours = used - {"--font", "--mono"}
    assert colours <= set(re.findall(r"(--[a-z-]+):", dark))


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("settings", "The run folder holds no run.toml."),
        ("evaluations", "5 evaluations left 3 architectures"),  # as the search log has it
        ("progress", "The run has no search log"),
        ("verification", "Nothing has been exported yet."),
    ],
)
def test_a_missing_file_leaves_the_rest(run_folder, missing, said):
    setattr(run_folder, missing, None)
    page = Page(compose(run_folder))
    assert said in page.text
    assert page.broken == []
    assert page.headings[1:2] == ["The front"]
    assert page.headings.count("Where this comes from") == 1


def test_before_the_export_the_page_gives_the_command(run_folder, monkeypatch):
    run_folder.verification = None
    run_folder.write()
    monkeypatch.chdir(run_folder.path.parent)
    assert "<code>hwnas export digits</code>" in compose(run_folder)


NAMES = ["error", "macs", "parameters", "latency_ms@local-cpu", "latency_ms@rpi4"]
SUBSETS = [names for size in range(1, 6) for names in itertools.combinations(NAMES, size)]


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
@pytest.mark.parametrize("exported", [True, False], ids=["exported", "searched"])
def test_any_objectives_render(run_folder, names, exported):
    run_folder.keep_objectives(*names)
    if not exported:
        run_folder.verification = None
    page = Page(compose(run_folder))
    devices = sum(name.startswith("latency") for name in names)
    fronts = 0 if len(names) == 1 else 1 if set(names) == {"macs"} or not devices else devices
    if len(names) == devices == 2:
        fronts = 1  # one latency against the other
    assert len(page.specs) == fronts + (2 if exported else 0) + 3
    assert ("single objective" in page.text) == (len(names) == 1)
    assert page.broken == []


def test_an_empty_front_is_said(run_folder):
    run_folder.front = []
    run_folder.verification = None
    assert "The front is empty" in Page(compose(run_folder)).text


@pytest.mark.parametrize("exported", [True, False], ids=["exported", "searched"])
def test_no_string_of_a_file_becomes_markup(run_folder, exported):
    run_folder.path = run_folder.path.parent / "<b>run"
    run_folder.settings = f"# {EVIL}\n"
    run_folder.evaluations[0]["space"] = EVIL
    run_folder.evaluations[-1]["failure"] = EVIL
    run_folder.objectives[1]["name"] = EVIL
    run_folder.objectives[1]["unit"] = EVIL
    for record in [*run_folder.front, *run_folder.evaluations[1:5]]:
        record["values"][EVIL] = record["values"].pop("macs")
        record["architecture"]["space"] = EVIL
    run_folder.verification["environment"] = {EVIL: EVIL, "list": [EVIL]}
    run_folder.verification["device"] = EVIL
    for model in run_folder.models:
        model.update(name=EVIL, description=EVIL)
        file = model["files"][0]
        file.update(file=f"models/{EVIL}.onnx", precision=EVIL, same_class=0.5)
        file["latency"][EVIL] = file["latency"].pop("rpi4") | {"not_measured": EVIL}
    if not exported:
        run_folder.verification = None
        run_folder.objectives = run_folder.objectives[1:]
        run_folder.objectives[1]["name"] = "latency_ms@" + EVIL
        for record in run_folder.front:
            record["values"]["latency_ms@" + EVIL] = record["values"]["parameters"]
    text = compose(run_folder)
    page = Page(text)
    assert page.broken == []
    scripts = page.all("script")
    assert [script for script in scripts if script.get("type") != "application/json"] == [{}, {}]  # plotly.js, ours
    assert page.all("img") == []
    assert page.all("b") == []
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all("<" not in spec for spec in re.findall(r'class="(?:spec|choices)">(.*?)</script>', text))
    assert "alert" in page.text  # shown, as text
    assert "$title" in page.text  # and not filled in


def test_models_that_answer_otherwise_are_warned_of(run_folder):
    assert "Every fp32 file gives the same classes" in Page(compose(run_folder)).text
    run_folder.files[1]["same_class"] = 0.99
    text = Page(compose(run_folder)).text
    assert "Does not give the same classes as its PyTorch model: winner-2." in text
    assert "Every fp32 file" not in text


def test_the_median_error_of_the_predictions_is_stated(run_folder):
    text = Page(compose(run_folder)).text
    assert "Median error 3.8% over 3 models on local-cpu" in text
    assert "the worst is winner-3, off by \N{MINUS SIGN}5.7%" in text


def test_settings_and_environment_are_shown(run_folder):
    text = Page(compose(run_folder)).text
    assert run_folder.settings in text
    for word in ("onnxruntime", "1.31.1", "AMD EPYC", "1 × loss became NaN"):
        assert word in text


def test_networks_of_the_tables_are_drawn_beside_the_models(run_folder, proven_table, bare_table):
    tables = {
        "local-cpu": {"fp32": proven_table},
        "rpi4": {"fp32": bare_table},
        "board": {"fp32": proven_table},
        "tpu": {"fp32": "The table of <tpu> is not there."},
    }
    page = Page(compose_page(load_run(run_folder.write()), tables).replace(get_plotlyjs(), ""))
    assert page.broken == []
    roles = [[trace["meta"]["role"] for trace in spec["data"]] for spec in page.specs if spec["data"][0]["x"]]
    predictions = [one for one in roles if "agreement" in one]
    assert predictions == [
        ["band", "agreement", "calibration", "point"],
        ["agreement", "point"],
        ["band", "agreement", "calibration"],  # a device without exported models
    ]
    assert page.headings.count("On board") == 1
    assert page.text.count("On 12 networks, each left out of the fit that foretells it") == 2
    assert "No networks were measured to prove the fp32 latency table of rpi4." in page.text
    assert "The table of <tpu> is not there." in page.text


def test_before_the_export_the_networks_are_shown_alone(run_folder, proven_table):
    run_folder.verification = None
    page = Page(
        compose_page(load_run(run_folder.write()), {"local-cpu": {"fp32": proven_table}}).replace(get_plotlyjs(), "")
    )
    assert "No exported model has both" not in page.text
    assert any(trace["meta"]["role"] == "calibration" for spec in page.specs for trace in spec["data"])


def test_pictures_lie_beside_the_report(run_folder, proven_table, bare_table):
    write_report(
        run_folder.write(), {"local-cpu": {"fp32": proven_table}, "rpi4": {"fp32": bare_table}, "tpu": {"fp32": "No."}}
    )
    assert [path.name for path in run_folder.path.glob("*.png")] == ["predictions-local-cpu.png"]


def test_the_audit_and_the_predictor_are_sections_where_the_run_has_them(run_folder, audit, foretold):
    assert "foretold from the evaluations" not in compose(run_folder)
    audit.save(run_folder.path / "audit.json")
    foretold.save(run_folder.path / "predictor.json")
    page = Page(compose(run_folder))
    assert page.broken == []
    assert page.headings.count("The supernet's order against the truth") == 1
    assert page.headings.count("Errors foretold from the evaluations") == 1
    assert "a regret of" in page.text
    assert "each foretold by a predictor fitted without it" in page.text
    assert len(page.specs) == 9
    style = compose(run_folder).split("<style>")[1].split("</style>")[0]
    roles = {trace["meta"]["role"] for spec in page.specs[4:6] for trace in spec["data"]}
    assert roles == {"shift", "network", "winner", "agreement"}
    assert all(f".swatch.{role}" in style for role in roles)


def test_drawings_of_the_audit_and_the_predictor_look_their_colours_up(audit, foretold):
    text = audit_figure(audit).to_json() + accuracy_figure(foretold).to_json()
    named = set(re.findall(r'"(?:color|bgcolor|bordercolor|gridcolor|linecolor)":"([^"]*)"', text))
    assert {colour for colour in named if not colour.startswith("var(--")} == set()
