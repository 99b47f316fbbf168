import json

import pytest

from hwnas.errors import SettingsError, StoredFileError
from hwnas.rank_audit import AuditEntry, RankAudit
from hwnas.spaces import Architecture


def entry(number, supernet_error, alone_error, macs=1000):
    return AuditEntry(Architecture("toy", (number, 0)), f"network {number}", macs, supernet_error, alone_error)


ENTRIES = [
    entry(0, 0.30, 0.10, 4000),
    entry(1, 0.20, 0.12, 3000),  # the supernet's pick
    entry(2, 0.25, 0.08, 2000),  # the best alone
    entry(3, 0.40, 0.20, 1000),
]


def test_both_orders_against_the_truth():
    audit = RankAudit.of(ENTRIES, source="published", data="cifar10")
    assert audit.supernet.kendall == pytest.approx(2 / 6)  # one of six pairs is turned, and another
    assert audit.macs.kendall == pytest.approx(2 / 6)
    assert audit.supernet.networks == audit.macs.networks == 4
    assert audit.epochs is None


def test_larger_networks_are_taken_to_be_better_by_macs():
    falling = [entry(number, 0.1, 0.5 - 0.1 * number, 1000 * (number + 1)) for number in range(4)]
    assert RankAudit.of(falling, source="trained", data="digits", epochs=3).macs.kendall == pytest.approx(1)


def test_the_regret_of_the_first_pick():
    audit = RankAudit.of(ENTRIES, source="published", data="cifar10")
    assert (audit.pick.description, audit.best.description) == ("network 1", "network 2")
    assert audit.regret == pytest.approx(0.04)
    alike = RankAudit.of([entry(0, 0.2, 0.1, 9), entry(1, 0.2, 0.1, 5)], source="published", data="x")
    assert alike.pick.macs == alike.best.macs == 5
    assert alike.regret == 0


@pytest.mark.parametrize(("epochs", "alone_data"), [(None, "CIFAR-10"), (12, None)])
def test_written_and_read_again(tmp_path, epochs, alone_data):
    audit = RankAudit.of(ENTRIES, source="trained", data="digits", alone_data=alone_data, epochs=epochs)
    assert audit.alone_data == (alone_data or "digits")
    audit.save(tmp_path / "audit.json")
    assert RankAudit.load(tmp_path / "audit.json") == audit
    document = json.loads((tmp_path / "audit.json").read_text())
    assert list(document) == ["schema_version", "source", "epochs", "data", "alone_data", "entries", "supernet", "macs"]
    assert document["entries"][1] == {
        "architecture": {"space": "toy", "choices": [1, 0]},
        "description": "network 1",
        "macs": 3000,
        "supernet_error": 0.20,
        "alone_error": 0.12,
    }


def test_no_networks_are_no_audit():
    with pytest.raises(SettingsError, match="must have networks"):
        RankAudit.of([], source="published", data="x")


@pytest.mark.parametrize(
    "damage",
    [
        {"source": "guessed"},
        {"entries": []},
        {"entries": [{"architecture": {}}]},
        {"supernet": {}},
        {"macs": None},
        {"epochs": "many"},
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = tmp_path / "audit.json"
    RankAudit.of(ENTRIES, source="published", data="x").save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(StoredFileError, match=r"must be a rank audit, but reading it says: .*hwnas audit RUN"):
        RankAudit.load(path)


def test_an_error_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "audit.json"
    RankAudit.of(ENTRIES, source="published", data="x").save(path)
    path.write_text(path.read_text().replace("0.12", "NaN"))
    assert "NaN" in path.read_text()
    with pytest.raises(StoredFileError, match="must be a rank audit"):
        RankAudit.load(path)
