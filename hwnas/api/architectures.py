"""Architectures of a run by what a person calls them: "largest", "front:2", or the number of each choice."""

import re
from typing import Final

import numpy as np

from hwnas.api.run_folder import RunFolder
from hwnas.errors import ArchitectureError, RunError
from hwnas.files import read_json
from hwnas.spaces import Architecture

__all__ = ["PREFERRED_SCHEMA", "find_architecture"]

PREFERRED_SCHEMA: Final = 1


def find_architecture(run: RunFolder, text: str) -> Architecture:
    """The architecture that `text` means.

    Args:
        run: whose space and front.
        text: "largest", "smallest", "random" or "random:SEED", "front:N" (the Nth member of the front, from 1),
            "preferred" (by a differentiable training), or its choices: numbers between commas, spaces or hyphens, or one
            digit each ("22212202").

    Raises:
        ArchitectureError: none of these, or choices that the space does not have.
        RunError: there is no front yet, or it has fewer members; there is no preferred one.
    """
    space = run.space
    if text == "preferred":
        return _preferred(run)
    if text in {"largest", "smallest"}:
        return space.largest() if text == "largest" else space.smallest()
    kind, _, number = text.partition(":")
    if kind == "random" and (number.isdecimal() or not number):
        return space.sample(np.random.default_rng(int(number or 0)))
    if kind == "front" and number.isdecimal():
        front = list(run.load_front())
        if not 1 <= int(number) <= len(front):
            raise RunError(f"The front of {run.path}", f"must have a member {number}", came=f"it has {len(front)}")
        return front[int(number) - 1].architecture
    words = re.split(r"[\s,-]+", text.strip())
    if len(words) == 1 and len(words[0]) == len(space.variables):
        words = list(words[0])
    if not all(word.isdecimal() for word in words):
        raise ArchitectureError(
            f"The architecture {text!r}",
            "must be largest, smallest, random:SEED, front:N, preferred, or the number of each choice",
            came="it is none of these",
        )
    return space.architecture(int(word) for word in words)


def _preferred(run: RunFolder) -> Architecture:
    if not run.preferred.exists():
        raise RunError(
            f"Run folder {run.path}",
            "must hold a preferred architecture",
            came="it has none",
            do='Train its supernet with training.method = "differentiable"',
        )
    document = read_json(run.preferred, kind="preferred architecture", schema_version=PREFERRED_SCHEMA)
    return run.network_space.from_json(document["architecture"])
