import pytest

from hwnas.errors import StoredFileError
from hwnas.reports.verifications import LatencyRecord, read_verification


def read(run_folder):
    run_folder.write()
    return read_verification(run_folder.path / "verification.json")


def with_int8(run_folder):
    """The folder, its first model also in int8 and with preprocessing inside."""
    model = run_folder.models[0]
    own = model["files"][0]
    image = own | {"file": "models/winner-1/int8-image.onnx", "precision": "int8", "image_input": True}
    small = own | {"file": "models/winner-1/int8.onnx", "precision": "int8", "test_accuracy": 0.8}
    model.update(precision="int8", files=[own, image, small])
    second = run_folder.models[1]["files"]
    second.insert(0, second[0] | {"file": "models/winner-2/tensorrt-rtx-fp32.engine"})
    return run_folder


def test_a_model_speaks_for_the_file_of_its_own_precision(run_folder):
    found = read(with_int8(run_folder))
    first, second, _ = found.models
    assert first.own.file == "models/winner-1/int8.onnx"
    assert first.accuracy == 0.8
    assert first.in_precision("fp32").file == "models/winner-1/fp32.onnx"
    assert first.in_precision("fp16") is None
    assert second.in_precision("fp32").file == "models/winner-2/fp32.onnx"  # not the engine before it
    assert [file.image_input for file in first.plain_files] == [False, False]
    assert second.own.precision == "fp32"
    assert found.precisions == ("fp32", "int8")
    assert found.devices == ("local-cpu", "rpi4")


def test_an_offline_device_is_said_and_no_number_is_made_up(run_folder):
    run_folder.files[0]["latency"]["rpi4"] = {
        "predicted_ms": 2.0, "predicted_interval_ms": [1.9, 2.1], "measured_ms": None, "measured_ci95_ms": None,
        "not_measured": "rpi4 does not answer.",
    }  # fmt: skip
    record = read(run_folder).models[0].latency_on("rpi4")
    assert record == LatencyRecord(2.0, None, None, (1.9, 2.1), "rpi4 does not answer.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: folder.models[0].update(name=3), "'name' must be a string, but it is 3"),
        (lambda folder: folder.models[0].update(files=[]), "'files' must list a file, but it is empty. Verify again"),
        (lambda folder: folder.files[0].update(file=None), "'file' must be a string, but there is none"),
        (lambda folder: folder.files[0].update(same_class="yes"), "'same_class' must be a number"),
        (lambda folder: folder.files[0].update(image_input=1), "'image_input' must be true or false"),
        (
            lambda folder: folder.files[0]["latency"]["rpi4"].update(predicted_interval_ms=[1]),
            r"must be a list \[low, high\]",
        ),
        (lambda folder: folder.files[0].update(latency={"rpi4": 3}), "must be a JSON object, but it is a int"),
    ],
)
def test_a_damaged_file_ends_in_a_sentence(run_folder, change, message):
    change(run_folder)
    with pytest.raises(StoredFileError, match=message):
        read(run_folder)


def test_an_absent_file_is_none(tmp_path):
    assert read_verification(tmp_path / "verification.json") is None
