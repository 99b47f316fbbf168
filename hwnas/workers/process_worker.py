"""The other end of a worker process: it is sent objectives, then candidates, and sends evaluations back.

It ends when the pipe to it is closed, in the middle of an evaluation too, so that a search that was killed leaves nothing
behind.
"""

import os
import queue
import signal
import threading
import warnings
from typing import IO, Final

import cloudpickle

from hwnas.workers.evaluation import outcome_of, portable

__all__ = ["receive", "send", "serve"]

SIZE_BYTES: Final = 8


def send(stream: IO[bytes], message: bytes) -> None:
    """Writes `message`, its length before it. Raises OSError where the other end is closed."""
    stream.write(len(message).to_bytes(SIZE_BYTES))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Reads what `send` wrote. Raises EOFError where the other end was closed before all of it came."""
    size = int.from_bytes(_exactly(stream, SIZE_BYTES))
    return _exactly(stream, size)


def serve() -> None:
    """The life of a worker process, between its standard input and its standard output.

    Code that is evaluated finds nothing on its standard input, and what it prints goes to the standard error. Warnings are
    not shown: there would be one a worker.
    """
    warnings.simplefilter("ignore")
    questions, answers = _own_pipes()
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions, messages), daemon=True).start()
    try:
        objectives = cloudpickle.loads(messages.get())
    except BaseException as error:
        send(answers, cloudpickle.dumps(portable(error)))
        return
    send(answers, cloudpickle.dumps(None))
    while True:
        send(answers, cloudpickle.dumps(outcome_of(cloudpickle.loads(messages.get()), objectives)))


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The standard input and output, which nobody else can reach any more."""
    pipes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return pipes


def _listen(stream: IO[bytes], messages: "queue.SimpleQueue[bytes]") -> None:
    try:
        while True:
            messages.put(receive(stream))
    except (EOFError, OSError):
        if hasattr(os, "killpg"):
            os.killpg(os.getpid(), signal.SIGKILL)  # this process and all that it has started
        else:
            os.kill(os.getpid(), signal.SIGTERM)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content
