"""A device reached by a program of the user's: each visit is a call that prints the samples as JSON.

A device file, devices/phone.toml, with the key that only such a device has::

    description = "A phone behind adb"
    address = "command:./bench.sh {model} {runs} {threads}"  # no shell; without {model} the path comes last
    timeout_s = 300                                          # for each call (default 120)
    runtimes = ["tflite-xnnpack"]                            # any name, for the table (default "command")
    num_threads = 4

The program loads the .onnx file {model}, runs it at least once without timing it, then times {runs} runs, and prints as
its last line, or as all that it prints::

    {"samples_ms": [1.32, 1.31, 1.33], "conditions": {"temperature_celsius": 41}}

"conditions" may be left out. A program that cannot run a model ends with another status than 0, and says why on the last
line of stderr. Called with "--fingerprint" in place of the model and 0 runs, it may print what its samples depend on,
``{"fingerprint": {"cpu": "Cortex-A76", "runtime_version": "2.17"}}``; a program that fails at this has no fingerprint but
its own command line.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from hwnas.devices.address import PLACEHOLDERS, parse_command
from hwnas.devices.hosts.connection import shortened
from hwnas.devices.hosts.host import Host, Visit
from hwnas.errors import DeviceError

if TYPE_CHECKING:
    from typing import Self

    from hwnas.devices.device import Device

__all__ = ["CommandHost"]

ASK_FINGERPRINT: Final = "--fingerprint"
OUTPUT_BYTES: Final = 1 << 24
END_S: Final = 5.0


class CommandHost(Host):
    """A program that times one model a call.

    Args:
        name: the device's, for errors.
        command: the program and its arguments, with {model}, {runs} and {threads} where they belong.
        runtime: what the user calls the runtime behind it.
        num_threads: threads of one inference.
        timeout_s: how long one call may take.

    Raises:
        DeviceError: there is no such program, or it may not be run.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, runtime: str, num_threads: int, timeout_s: float = 120.0
    ) -> None:
        self._where = f"Device {name!r}: {command[0]}"
        self._command = tuple(command)
        self._runtime = runtime
        self._num_threads = num_threads
        self._timeout_s = timeout_s
        self._models: dict[str, Path] = {}
        self._conditions: dict[str, Any] = {}
        self._facts: dict[str, Any] | None = None
        if shutil.which(command[0]) is None:
            there = Path(command[0]).exists()
            raise DeviceError(
                self._where,
                "must be a program",
                came="it may not be run" if there else "it is not there",
                do=f"chmod +x {command[0]}" if there else "A relative path begins in the folder that hwnas runs in",
            )

    @classmethod
    def reach(cls, device: Device) -> Self:
        """The program that the address of `device` names."""
        return cls(
            device.name,
            parse_command(device.address, where=f"device {device.name!r}: address"),
            runtime=device.runtimes[0],
            num_threads=device.num_threads,
            timeout_s=device.timeout_s,
        )

    @property
    def precisions(self) -> tuple[str, ...]:
        """All: the program refuses what it cannot run."""
        return ("fp32", "fp16", "int8")

    def fingerprint(self) -> dict[str, Any]:
        """What the program says of itself, if it does, with its command line, runtime and num_threads."""
        if self._facts is None:
            self._facts = self._ask_facts()
        own = {"command": list(self._command), "runtime": self._runtime, "num_threads": self._num_threads}
        return {"runtime_version": None, **self._facts, **own}

    def conditions(self) -> dict[str, Any]:
        """Those that the program printed with its last samples."""
        return dict(self._conditions)

    def load(self, models: Mapping[str, Path]) -> Iterator[tuple[str, str | None]]:
        """Has the program run each model once; see Host."""
        for name, path in models.items():
            self._models.pop(name, None)
            refusal = None if path.is_file() else f"{path} is not there"
            if refusal is None:
                status, output, said = self._call(str(path.resolve()), 1)
                if status == 0:
                    self._samples(output, 1)
                    self._models[name] = path
                else:
                    refusal = said or f"it ended with status {status}"
            yield name, refusal

    def visit(self, visits: Sequence[Visit]) -> Iterator[list[float]]:
        """One call for each visit; see Host."""
        for name, runs in visits:
            if name not in self._models:
                raise DeviceError(f"Model {name!r}", "must be loaded before it is visited")
            status, output, said = self._call(str(self._models[name].resolve()), runs)
            if status != 0:
                came = f"it ended with status {status}{f' and says: {said}' if said else ''}"
                raise DeviceError(self._where, f"must run {name}", came=came)
            yield self._samples(output, runs)

    def unload(self, models: Iterable[str]) -> None:
        """Forgets the models: the program holds none between its calls."""
        for name in models:
            self._models.pop(name, None)

    def close(self) -> None:
        """Forgets the models."""
        self._models.clear()

    def _ask_facts(self) -> dict[str, Any]:
        status, output, _ = self._call(ASK_FINGERPRINT, 0)
        answer = _parsed(output) if status == 0 else None
        facts = answer.get("fingerprint") if isinstance(answer, dict) else None
        return facts if isinstance(facts, dict) else {}

    def _call(self, model: str, runs: int) -> tuple[int, str, str]:
        """One call: its exit status, its output, and the last line of its stderr.

        Output goes to files, since a pipe would stay open as long as any server that the program starts, as adb does.
        """
        values = dict(zip(PLACEHOLDERS, (model, str(runs), str(self._num_threads)), strict=True))
        words = [re.sub(r"{(\w+)}", lambda found: values[found[1]], word) for word in self._command]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=output, stderr=said, start_new_session=True
                )
            except OSError as error:
                raise DeviceError(
                    self._where,
                    "must be a program that can be run",
                    came=f"the system says: {error.strerror}",
                    do="If it is a script, see its first line: #!/bin/sh",
                ) from error
            try:
                status = process.wait(timeout=self._timeout_s)
            except subprocess.TimeoutExpired as error:
                raise DeviceError(
                    self._where,
                    f"must end within {self._timeout_s:g} s",
                    came=f"it did not, asked for {runs} runs of {model}",
                    do="See whether it hangs, or raise timeout_s in the device file",
                ) from error
            finally:
                _end_group(process)
            lines = [line.strip() for line in _text(said).splitlines() if line.strip()]
            return status, _text(output), lines[-1] if lines else ""

    def _samples(self, output: str, runs: int) -> list[float]:
        """The last `runs` of the samples that were printed; keeps the conditions that came with them."""
        answer = _parsed(output)
        if not isinstance(answer, dict):
            came = f"its last line is {shortened(_last_line(output))}" if output.strip() else "it printed nothing"
            raise self._wrong('JSON on its last line: {"samples_ms": [...]}', came)
        samples, conditions = answer.get("samples_ms"), answer.get("conditions", {})
        if not isinstance(samples, list):
            raise self._wrong('a list "samples_ms"', f"it printed {shortened(json.dumps(answer))}")
        for sample in samples:
            if type(sample) not in (int, float) or not math.isfinite(sample) or sample <= 0:
                raise self._wrong("samples that are numbers above 0", f"one is {shortened(json.dumps(sample))}")
        if len(samples) < runs:
            raise self._wrong("a sample for each run", f"it printed {len(samples)} for {runs} runs")
        if not isinstance(conditions, dict):
            raise self._wrong('an object as "conditions"', f"it printed {shortened(json.dumps(conditions))}")
        self._conditions = conditions
        return [float(sample) for sample in samples[-runs:]]

    def _wrong(self, must: str, came: str) -> DeviceError:
        return DeviceError(self._where, f"must print {must}", came=came)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a child that still runs, with all that it started; one that has ended may leave a server behind."""
    if process.poll() is not None:
        return
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=END_S)


def _text(stream: BinaryIO) -> str:
    stream.seek(0)
    return stream.read(OUTPUT_BYTES).decode(errors="replace")


def _last_line(output: str) -> str:
    return output.strip().splitlines()[-1]


def _parsed(output: str) -> Any:
    """The JSON that is all of `output`, else its last line that is not empty; None where neither is JSON."""
    for text in (output, _last_line(output)) if output.strip() else ():
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    return None
