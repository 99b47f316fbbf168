from html.parser import HTMLParser

import pytest

from hwnas.reports.documents import load_run
from hwnas.reports.tables import front_table, model_table, relative_link


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
    models = run_folder.models
    columns = {
        "Test accuracy (%)": "onnx_test_accuracy",
        "MACs (M)": "macs",
        "Parameters (k)": "parameters",
        "File (MiB)": "size_bytes",
        "Largest difference": "max_abs_difference",
    }
    for heading, key in columns.items():
        assert [float(sort) for sort, _ in table.column(heading)] == [model[key] for model in models]
    for device in ("local-cpu", "rpi4"):
        for word in ("predicted", "measured"):
            found = [float(sort) for sort, _ in table.column(f"{word.capitalize()} on {device} (ms)")]
            assert found == [model["latency"][device][f"{word}_ms"] for model in models]
    assert [text for _, text in table.column("Test accuracy (%)")] == ["84.5", "92.5", "98.5"]
    assert [text for _, text in table.column("MACs (M)")] == ["2.0", "6.0", "18.0"]
    assert [text for _, text in table.column("Measured on local-cpu (ms)")][2] == "0.318 ± 0.003"
    assert [text for _, text in table.column("Architecture")] == [model["description"] for model in models]


def test_links_lead_to_the_files_from_the_run_folder(run_folder):
    run_folder.models[1]["file"] = "models/the best #1.onnx"
    table = Table(model_table(load_run(run_folder.write())))
    assert table.links == ["models/winner-1.onnx", "models/the%20best%20%231.onnx", "models/winner-3.onnx"]


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../other/model.onnx", "javascript:alert(1)", "//example.org/x", "C:\\x.onnx", ""]
)
def test_no_link_leads_out_of_the_run_folder(run_folder, file):
    assert relative_link(file) is None
    run_folder.models[0]["file"] = file
    assert len(Table(model_table(load_run(run_folder.write()))).links) == 2


def test_every_column_can_be_sorted_from_the_keyboard(run_folder):
    text = model_table(load_run(run_folder.write()))
    table = Table(text)
    assert set(table.sorts) == {"none"}
    assert text.count('<button type="button">') == len(table.headings) > 8
    assert all(len(row) == len(table.headings) for row in table.rows if row)


def test_missing_numbers_are_dashes_that_sort_as_nothing(run_folder):
    for key in ("onnx_test_accuracy", "test_accuracy", "macs", "max_abs_difference", "latency", "measured_ms"):
        run_folder.models[0][key] = None
    run_folder.verification["models"] = run_folder.models[:1]
    table = Table(model_table(load_run(run_folder.write())))
    for heading in ("Test accuracy (%)", "MACs", "Measured (ms)", "Largest difference"):
        assert table.column(heading) == [["", "–"]]


def test_what_went_wrong_is_said_in_the_row(run_folder):
    run_folder.models[0].update(same_class=False, on_front=False)
    table = Table(model_table(load_run(run_folder.write())))
    assert table.column("Largest difference")[0][1].endswith("other classes")
    assert [text for _, text in table.column("Model")] == ["1winner-1 off the front", "2winner-2", "3winner-3"]


def test_the_front_is_there_as_numbers(run_folder):
    table = Table(front_table(load_run(run_folder.write())))
    assert table.headings == [
        "Error (%)", "MACs (M)", "Parameters (k)", "Latency on local-cpu (ms)", "Latency on rpi4 (ms)", "Choices",
    ]  # fmt: skip
    assert [float(sort) for sort, _ in table.column("Error (%)")] == [0.16, 0.08, 0.02]
    assert [text for _, text in table.column("Error (%)")] == ["16.0", "8.0", "2.0"]
    assert [text for _, text in table.column("Choices")] == ["0 0 2", "1 0 2", "2 0 2"]


def test_the_name_of_a_file_is_shown_as_text(run_folder):
    run_folder.models[0]["file"] = "models/<i>&x.onnx"
    text = model_table(load_run(run_folder.write()))
    assert "<i>" not in text
    assert "&lt;i&gt;&amp;x</a>" in text
    assert 'href="models/%3Ci%3E%26x.onnx"' in text
