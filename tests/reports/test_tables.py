from html.parser import HTMLParser

import pytest

from hwnas.reports.documents import load_run
from hwnas.reports.tables import baseline_table, front_table, model_table, relative_link


class Table(HTMLParser):
    """Headings, and rows of (data-sort, text) cells."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.sorts, self.rows, self.links, self.where = [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "th" and "aria-sort" in attributes:
            self.sorts.append(attributes["aria-sort"])
            self.headings.append("")
            self.where = "head"
        elif tag == "tr":
            self.rows.append([])
        elif "data-sort" in attributes:
            self.rows[-1].append([attributes["data-sort"], ""])
            self.where = "cell"
        elif tag == "a":
            self.links.append(attributes["href"])

    def handle_data(self, data):
        if self.where == "head":
            self.headings[-1] += data
        elif self.where == "cell":
            self.rows[-1][-1][1] += data

    def column(self, heading):
        index = self.headings.index(heading)
        return [row[index] for row in self.rows if row]


def test_the_numbers_of_the_models_are_those_of_the_file(run_folder):
    table = Table(model_table(load_run(run_folder.write())))
    models, files = run_folder.models, run_folder.files
    columns = {
        "Test accuracy (%)": "test_accuracy",
        "File (MiB)": "size_bytes",
        "Peak memory (MiB)": "peak_memory_bytes",
        "Same class as torch (%)": "same_class",
        "Largest difference": "max_abs_difference",
    }
    for heading, key in columns.items():
        assert [float(sort) for sort, _ in table.column(heading)] == [file[key] for file in files]
    for heading, key in {"MACs (M)": "macs", "Parameters (k)": "parameters"}.items():
        assert [float(sort) for sort, _ in table.column(heading)] == [model[key] for model in models]
    for device in ("local-cpu", "rpi4"):
        found = table.column(f"Measured on {device} (ms)")
        assert [float(sort) for sort, _ in found] == [file["latency"][device]["measured_ms"] for file in files]
        assert all("predicted " in text for _, text in found)
    assert [text for _, text in table.column("Test accuracy (%)")] == ["84.5", "92.5", "98.5"]
    assert [text for _, text in table.column("MACs (M)")] == ["2.0", "6.0", "18.0"]
    assert [text for _, text in table.column("Measured on local-cpu (ms)")][2] == "0.318 ± 0.003predicted 0.300"
    assert [text for _, text in table.column("Model")] == [
        f"{model['name'][-1]}{model['name']}{model['description']}" for model in models
    ]


def test_links_lead_to_the_files_from_the_run_folder(run_folder):
    run_folder.files[1]["file"] = "models/the best #1.onnx"
    table = Table(model_table(load_run(run_folder.write())))
    assert table.links == [
        "models/winner-1/fp32.onnx",
        "models/the%20best%20%231.onnx",
        "models/winner-3/fp32.onnx",
    ]


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../other/model.onnx", "javascript:alert(1)", "//example.org/x", "C:\\x.onnx", ""]
)
def test_no_link_leads_out_of_the_run_folder(run_folder, file):
    assert relative_link(file) is None
    run_folder.files[0]["file"] = file
    assert len(Table(model_table(load_run(run_folder.write()))).links) == 2


def test_every_column_can_be_sorted_from_the_keyboard(run_folder):
    text = model_table(load_run(run_folder.write()))
    table = Table(text)
    assert set(table.sorts) == {"none"}
    assert text.count('<button type="button">') == len(table.headings) > 8
    assert all(len(row) == len(table.headings) for row in table.rows if row)


def test_missing_numbers_are_dashes_that_sort_as_nothing(run_folder):
    run_folder.models[0]["macs"] = None
    for key in ("test_accuracy", "max_abs_difference", "same_class"):
        run_folder.files[0][key] = None
    del run_folder.files[0]["latency"]["rpi4"]
    run_folder.files[0]["latency"]["local-cpu"]["measured_ms"] = None
    run_folder.verification["models"] = run_folder.models[:1]
    table = Table(model_table(load_run(run_folder.write())))
    assert table.column("Measured (ms)") == [["", "–predicted 0.100"]]
    for heading in ("Test accuracy (%)", "MACs", "Same class as torch (%)", "Largest difference"):
        assert table.column(heading) == [["", "–"]]


def test_what_is_not_as_it_should_be_is_said_in_the_row(run_folder):
    run_folder.models[0]["on_front"] = False
    run_folder.files[0]["same_class"] = 0.975
    run_folder.files[1]["latency"]["rpi4"].update(measured_ms=None, not_measured="rpi4 does not answer.")
    text = model_table(load_run(run_folder.write()))
    table = Table(text)
    assert table.column("Same class as torch (%)")[0] == ["0.975", "97.5"]
    assert table.column("Measured on rpi4 (ms)")[1] == ["", "not measuredpredicted 3.10"]
    assert 'title="rpi4 does not answer."' in text
    found = [text.partition("depths")[0] for _, text in table.column("Model")]
    assert found == ["1winner-1 off the front", "2winner-2", "3winner-3"]


def test_the_front_is_there_as_numbers(run_folder):
    table = Table(front_table(load_run(run_folder.write())))
    assert table.headings == [
        "Member", "Error (%)", "MACs (M)", "Parameters (k)", "Latency on local-cpu (ms)", "Latency on rpi4 (ms)", "Choices",
    ]  # fmt: skip
    assert [float(sort) for sort, _ in table.column("Error (%)")] == [0.16, 0.08, 0.02]
    assert [text for _, text in table.column("Error (%)")] == ["16.0", "8.0", "2.0"]
    assert [text for _, text in table.column("Choices")] == ["0 0 2", "1 0 2", "2 0 2"]


def test_the_name_of_a_file_is_shown_as_text(run_folder):
    run_folder.models[0]["name"] = "<i>&x"
    run_folder.files[0]["file"] = "models/<i>&x.onnx"
    text = model_table(load_run(run_folder.write()))
    assert "<i>" not in text
    assert "&lt;i&gt;&amp;x</a>" in text
    assert 'href="models/%3Ci%3E%26x.onnx"' in text


def test_every_precision_has_a_row_and_the_chosen_one_is_named(example):
    run = load_run(example.path)
    table = Table(model_table(run))
    assert [text for _, text in table.column("Precision")].count("int8 chosen") == sum(
        model.precision == "int8" for model in run.models
    )
    assert len([row for row in table.rows if row]) == 2 * len(run.models)  # those with preprocessing inside left out


def test_known_networks_are_a_table_of_their_own(example):
    run = load_run(example.path)
    table = Table(baseline_table(run))
    assert table.column("Network")[0][1] == "Amobilenet_v2 (width 0.5)"
    assert [float(sort) for sort, _ in table.column("Test accuracy (%)")] == [
        one.test_accuracy for one in run.baselines
    ]
    assert table.links[0] == "baselines/mobilenet_v2.onnx"
