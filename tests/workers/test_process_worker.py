"""The messages between a search and its worker processes."""

import io

import pytest

from hwnas.workers.process_worker import receive, send


@pytest.mark.parametrize("messages", [[b""], [b"one", b"", b"three" * 100_000]])
def test_messages_arrive_whole_and_in_order(messages: list[bytes]) -> None:
    stream = io.BytesIO()
    for message in messages:
        send(stream, message)
    stream.seek(0)
    assert [receive(stream) for _ in messages] == messages


@pytest.mark.parametrize("kept", [0, 3, 8, 10])
def test_a_torn_message_is_the_end(kept: int) -> None:
    stream = io.BytesIO()
    send(stream, b"message")
    with pytest.raises(EOFError):
        receive(io.BytesIO(stream.getvalue()[:kept]))
