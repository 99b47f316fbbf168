"""Published tables of blocks: the two dialects of keys, the forms of files, and real excerpts of both."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import spearmanr

from hwnas.errors import StoredFileError, TableMismatchError
from hwnas.latency import TableIdentity, load_table, save_table
from hwnas.latency.block_tables import Block, block_keys, read_block_table, table_of_blocks
from hwnas.spaces import MobileNetV3, Operator

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = DATA / "ofa_mobilenetv3_i7_8700k_128.csv"


@pytest.fixture(scope="module")
def published_space():
    return MobileNetV3((3, 128, 128), 1000)


def identity_of(space):
    return TableIdentity("i7-8700k", "pytorch", "fp32", 1, 1, space.name, space.input_shape)


def imported(blocks, space):
    return table_of_blocks(blocks, space, identity_of(space), path=Path("published.csv"))


def choices_of(row):
    """The choices of a published sub-network: for each stage its depth, then kernel size and expand ratio of each block."""
    options = {"d": "234", "ks": "357", "e": "346"}
    at = {name: [values.index(digit) for digit in row[name]] for name, values in options.items()}
    blocks = list(zip(at["ks"], at["e"], strict=True))
    return [
        choice
        for stage, depth in enumerate(at["d"])
        for choice in (depth, *(c for block in blocks[4 * stage : 4 * stage + 4] for c in block))
    ]


def test_a_published_table_foretells_the_published_sums(published_space):
    blocks = read_block_table(PUBLISHED)
    table = imported(blocks, published_space)
    assert len(table.entries) == len(published_space.all_operators()) == 93
    assert table.flags == ()
    with (DATA / "ofa_mobilenetv3_lut_128.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    architectures = [published_space.architecture(choices_of(row)) for row in rows]
    predicted = [table.predict_ms(published_space.operators(one)) for one in architectures]
    sums = np.array([float(row["lut_i7_8700k_ms"]) for row in rows])
    assert len(rows) == 40
    assert predicted == pytest.approx(sums, rel=1e-6)
    assert spearmanr(predicted, sums)[0] == pytest.approx(1)


def test_a_row_has_the_parts_spread_and_no_samples(published_space):
    blocks = read_block_table(PUBLISHED)
    classifier = published_space.all_operators()[-1]
    row = imported(blocks, published_space).entries[classifier]
    parts = [blocks[key] for key in row.conditions["blocks"]]
    assert [key.partition("-")[0] for key in row.conditions["blocks"]] == [
        "final_expand_layer",
        "feature_mix_layer",
        "classifier",
    ]
    assert row.latency_ms == pytest.approx(sum(part.mean_ms for part in parts))
    half = 1.96 * sum(part.variance_ms2 for part in parts) ** 0.5
    assert row.ci95_ms == pytest.approx((row.latency_ms - half, row.latency_ms + half))
    assert row.samples_ms == ()


def test_the_table_says_where_it_is_from_and_survives_storing(published_space, tmp_path):
    table = imported(read_block_table(PUBLISHED), published_space)
    assert table.source == "imported from published.csv"
    assert table.quality is None
    assert load_table(save_table(table, tmp_path / "t.json").path).entries == table.entries


def test_once_for_alls_keys(published_space):
    operators = published_space.all_operators()
    keys = [block_keys(one, published_space.counts[one].output_shape)["Once-for-All"] for one in operators]
    assert keys[0] == ("Conv-input:128x128x3-output:64x64x16",)
    assert keys[1] == ("expanded_conv-input:64x64x16-output:64x64x16-expand:16-kernel:3-stride:1-idskip:1-se:0-hs:0",)
    assert keys[2] == ("expanded_conv-input:64x64x16-output:32x32x24-expand:48-kernel:3-stride:2-idskip:0-se:0-hs:0",)
    assert ("expanded_conv-input:8x8x112-output:8x8x112-expand:672-kernel:7-stride:1-idskip:1-se:1-hs:1",) in keys
    assert keys[-1] == (
        "Conv_1-input:4x4x160-output:4x4x960",
        "AvgPool2D-input:4x4x960-output:1x1x960",
        "Conv_2-input:1x1x960-output:1x1x1280",
        "Logits-input:1x1x1280-output:1000",
    )


def test_once_for_alls_files_are_read_too(published_space, tmp_path):
    keys = [
        key
        for one in published_space.all_operators()
        for key in block_keys(one, published_space.counts[one].output_shape)["Once-for-All"]
    ]
    document = {key: {"mean": 0.5 + number, "count": 40} for number, key in enumerate(keys)}
    path = tmp_path / "128_lookup_table.yaml"
    path.write_text(yaml.safe_dump(document))
    blocks = read_block_table(path)
    assert blocks[keys[3]] == Block(3.5, None, 40)
    table = imported(blocks, published_space)
    assert len(table.entries) == 93
    classifier = table.entries[published_space.all_operators()[-1]]
    assert classifier.latency_ms == pytest.approx(sum(document[key]["mean"] for key in keys[-4:]))
    assert classifier.ci95_ms == (classifier.latency_ms, classifier.latency_ms)
    assert classifier.conditions["spread_known"] is False


@pytest.mark.parametrize("name", ["t.json", "t.json.gz", "t.yml", "t.csv", "t.csv.gz"])
def test_every_form_reads_the_same(name, tmp_path):
    document = {"a": {"mean": 1.5, "var": 0.04, "count": 4}, "b": {"mean": 2.0, "var": None, "count": None}}
    text = json.dumps(document)
    if ".csv" in name:
        text = "key,kind,mean_ms,var_ms2,count\na,x,1.5,0.04,4\nb,x,2.0,,\n"
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert read_block_table(tmp_path / name) == {"a": Block(1.5, 0.04, 4), "b": Block(2.0)}
    assert Block(1.5, 0.04, 4).standard_error_ms == pytest.approx(0.1)


def test_latencies_alone_will_do(tmp_path):
    (tmp_path / "t.json").write_text('{"a": 1.5}')
    assert read_block_table(tmp_path / "t.json") == {"a": Block(1.5)}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.json", "{", "must be a table of blocks in JSON"),
        ("t.json", "[1]", "it holds a list"),
        ("t.json", "{}", "it is empty"),
        ("t.json", '{"a": "fast"}', r"t\.json: a must have numbers"),
        ("t.json", '{"a": {"mean": [1]}}', r"t\.json: a must have numbers"),
        ("t.json", '{"a": {"var": 1}}', r"t\.json: a must have a mean above 0"),
        ("t.json", '{"a": -1}', r"t\.json: a must have a mean above 0"),
        ("t.json", '{"a": {"mean": 1, "var": -1}}', r"t\.json: a must have a mean above 0"),
        ("t.json", '{"a": NaN}', r"t\.json: a must have numbers"),
        ("t.json", '{"a": true}', r"t\.json: a must have numbers"),
        ("t.yaml", "a: [", "must be a table of blocks in YAML"),
        ("t.yaml", "!!python/object/apply:os.getcwd []", "must be a table of blocks in YAML"),
        ("t.csv", "arch,ms\na,1\n", "it has the columns arch, ms"),
        ("t.csv", "key,mean_ms\na,1\na,2\n", "it stands twice"),
        ("t.csv.gz", "key,mean_ms\na,1\n", "must be a table of blocks in CSV"),
        ("t.pkl", "", r"must end in \.json, \.yaml"),
    ],
)
def test_bad_files_say_what_is_wrong(name, content, said, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(StoredFileError, match=said):
        read_block_table(tmp_path / name)


def test_an_absent_file_is_said(tmp_path):
    with pytest.raises(StoredFileError, match="it does not exist"):
        read_block_table(tmp_path / "t.json")


def test_what_a_file_lacks_is_counted_and_the_first_are_named(published_space):
    blocks = read_block_table(PUBLISHED)
    lacking = [key for key in blocks if key.startswith("MBConv-input:4x4x160")]
    assert len(lacking) == 9
    some = {key: block for key, block in blocks.items() if key not in lacking}
    (flag,) = imported(some, published_space).flags
    assert flag.startswith("incomplete: the file lacks 9 of 93 operators: mbconv(160x4x4; ")
    assert flag.count("for want of MBConv-input:4x4x160-output:4x4x160") == 3
    assert flag.endswith("; …")


def test_another_number_of_classes_lacks_the_classifier_alone():
    space = MobileNetV3((3, 128, 128), 10)
    table = imported(read_block_table(PUBLISHED), space)
    assert table.missing(space.all_operators()) == [space.all_operators()[-1]]
    assert "for want of classifier-input:1280-output:10" in table.flags[0]


def test_a_file_of_something_else_says_what_it_has():
    space = MobileNetV3((3, 200, 200), 10, width_mult=1.2)
    with pytest.raises(TableMismatchError) as raised:
        imported(read_block_table(PUBLISHED), space)
    said = str(raised.value)
    assert "such as Conv-input:200x200x3-output:100x100x24" in said
    assert "its 95 blocks are others" in said
    assert "first_conv-input:128x128x3-output:64x64x16" in said


def test_an_operator_of_another_kind_has_no_keys(published_space):
    assert block_keys(Operator("pool", (8, 4, 4), {}), (8, 2, 2)) == {}
