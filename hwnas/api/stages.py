"""What a run costs in time: each stage of each command adds a line to stages.jsonl, which the report sums up."""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from hwnas.api.run_folder import RunFolder
from hwnas.files import JsonLines

__all__ = ["STAGES", "stage"]

STAGES: Final = "stages.jsonl"


@contextlib.contextmanager
def stage(run: RunFolder, name: str, *, images: int | None = None) -> Iterator[None]:
    """Records how long the block took, one that fails or is interrupted included.

    Args:
        run: in whose folder stages.jsonl lies.
        name: what the block does: "profiling", "training", "searching", "exporting", "verifying", "comparing".
        images: how many different images each architecture is scored on, where it scores architectures.

    Raises:
        StoredFileError: the line could not be written.
    """
    begun = time.monotonic()
    try:
        yield
    finally:
        seconds = round(time.monotonic() - begun, 3)
        entry = {"stage": name, "seconds": seconds} | ({} if images is None else {"images": images})
        JsonLines(run.path / STAGES).append(entry, sync=False)
