import sys
import time

import pytest

from hwnas.devices.hosts import connection
from hwnas.devices.hosts.connection import Connection, LostConnection, shortened
from hwnas.errors import DeviceError, MissingRuntimeError

HEAD = "import json, sys, time\nr = sys.stdin.buffer\nsay = lambda **f: print(json.dumps(f), flush=True)\n"


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """Connects to a Python program."""
    monkeypatch.setattr(connection, "GRACE_S", 0.2)
    made = []

    def start(code):
        (tmp_path / "there.py").write_text(HEAD + code)
        made.append(Connection([sys.executable, "-S", "-u", str(tmp_path / "there.py")], where="Device 'x'"))
        return made[-1]

    yield start
    for one in made:
        one.end()
        assert one._process.returncode is not None


def test_items_come_as_they_are_made(connect):
    there = connect(
        "for i in (1, 2):\n r.readline()\n say(id=i, item=3)\n r.readline()\n say(id=i, item=4)\n say(id=i, done=True)"
    )
    for number in (1, 2):
        answers = there.ask("count", {"to": 2}, patience_s=10)
        assert next(answers) == 3
        there._requests.write(b"go on\n")
        there._requests.flush()
        assert list(answers) == [4], number


def test_a_request_carries_its_number_patience_fields_and_payload(connect):
    there = connect("line = r.readline(); say(id=1, item=[json.loads(line), r.read(4).decode()]); say(id=1, done=True)")
    (found,) = there.ask("put", {"size": 4}, patience_s=7.5, payload=[b"ab", b"cd"])
    assert found == [{"id": 1, "do": "put", "patience_s": 7.5, "size": 4}, "abcd"]


def test_what_is_left_of_an_earlier_request_is_skipped(connect):
    there = connect(
        "r.readline()\nfor i in range(9): say(id=1, item=i)\nr.readline(); say(id=2, item='new'); say(id=2, done=True)"
    )
    assert next(there.ask("old", patience_s=10)) == 0
    assert list(there.ask("new", patience_s=10)) == ["new"]


def test_errors_from_there_keep_their_parts(connect):
    error = {"kind": "device", "where": "its agent", "must": "must dance", "came": "it limps", "do": "Rest"}
    there = connect(
        f"r.readline(); say(id=1, error={error}); r.readline(); say(id=2, error={dict(error, kind='missing runtime')})"
    )
    with pytest.raises(DeviceError) as caught:
        list(there.ask("dance", patience_s=10))
    assert str(caught.value) == "Device 'x': its agent must dance, but it limps. On the device: Rest."
    assert not isinstance(caught.value, MissingRuntimeError)
    with pytest.raises(MissingRuntimeError):
        list(there.ask("dance", patience_s=10))
    assert not there.spoilt


@pytest.mark.parametrize("code", ["time.sleep(600)", "r.readline(); print('{', end='', flush=True); time.sleep(600)"])
def test_no_answer_in_time_is_a_lost_connection(connect, code):
    there = connect(f"sys.stderr.write('it is hot\\n')\n{code}")
    started = time.monotonic()
    with pytest.raises(LostConnection, match=r"it did not answer within 1 s; the last it said is: it is hot") as caught:
        list(there.ask("wait", patience_s=0.8))
    assert caught.value.status is None
    assert time.monotonic() - started < 60


def test_what_is_not_read_there_in_time_is_a_lost_connection(connect):
    there = connect("time.sleep(600)")
    with pytest.raises(LostConnection, match="did not answer within"):
        list(there.ask("put", patience_s=0.3, payload=[bytes(1 << 20)] * 4))


def test_waiting_with_an_item_in_hand_is_no_silence(connect):
    there = connect("r.readline(); say(id=1, item=1); time.sleep(1.2); say(id=1, item=2); say(id=1, done=True)")
    answers = there.ask("count", patience_s=0.4)
    assert next(answers) == 1
    time.sleep(1.3)
    assert list(answers) == [2]


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        ("sys.exit(7)", "the connection was closed", 7),
        ("sys.stderr.write('first\\nBroken pipe\\n\\n'); sys.exit(255)", "ssh says: Broken pipe", 255),
        ("r.readline(); print('{\"id\": 1, \"it', end=''); sys.exit(255)", "the connection was closed", 255),
    ],
    ids=["silent", "with words", "in the middle of a line"],
)
def test_an_end_is_a_lost_connection_with_its_status_and_last_words(connect, code, reason, status):
    there = connect(code)
    with pytest.raises(LostConnection) as caught:
        list(there.ask("wait", patience_s=30))
    assert (caught.value.reason, caught.value.status) == (reason, status)
    with pytest.raises(LostConnection):
        list(there.ask("again", patience_s=30))


def test_a_line_without_end_is_rubbish(connect, monkeypatch):
    monkeypatch.setattr(connection, "LINE_BYTES", 1000)
    there = connect("print('x' * 100_000, flush=True); time.sleep(600)")
    with pytest.raises(DeviceError, match="it sends a line without end"):
        list(there.ask("wait", patience_s=30))
    assert there.spoilt


def test_noise_is_skipped_until_the_greeting_and_then_the_code_is_sent(connect, monkeypatch):
    monkeypatch.setattr(connection, "archive", lambda: b"code")
    there = connect(
        "sys.stdout.buffer.write(b'\\xff\\xfe noise\\nhwnas-agent\\nhwnas-agent 3.x\\nhwnas-agent 3.12\\r\\n')\n"
        "n = int(r.readline()); c = r.read(n).decode(); r.readline(); say(id=1, item=c); say(id=1, done=True)"
    )
    there.greet(patience_s=30)
    assert list(there.ask("open", patience_s=30)) == ["code"]


@pytest.mark.parametrize(
    ("text", "shown"), [("a'b\n", '"a\'b\\n"'), ("x" * 81, f"'{'x' * 80}…'"), ("x" * 80, f"'{'x' * 80}'")]
)
def test_texts_are_quoted_and_cut(text, shown):
    assert shortened(text) == shown
