"""The run folder: where everything of one run lies, and what it is of."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hwnas.api.settings import RunSettings, make_settings, read_settings, settings_to_toml
from hwnas.errors import RunError, SettingsError
from hwnas.files import write_text
from hwnas.front import ParetoFront
from hwnas.spaces import SearchSpace, make_space
from hwnas.training import ImageData, load_data

__all__ = ["RunFolder", "open_run"]

ADJUSTABLE = frozenset({"evaluations", "winners", "finetune_epochs", "tables", "data_root", "measurement"})
"""Settings that may differ when a run is gone on with: they change nothing that was computed already."""

FROM_PYTHON = "python:"
"""What stands before the name of a space, strategy or data set that was given as an object."""


@dataclass
class RunFolder:
    """One run.

    Attributes:
        path: the folder.
        settings: what it follows from.
        given_space: the space, where it was given as an object.
        given_data: the data, where they were given as an object.
    """

    path: Path
    settings: RunSettings
    given_space: SearchSpace | None = None
    given_data: ImageData | None = None
    run_toml: Path = field(init=False)
    supernet: Path = field(init=False)
    evaluations: Path = field(init=False)
    search_log: Path = field(init=False)
    front: Path = field(init=False)
    models: Path = field(init=False)
    manifest: Path = field(init=False)
    verification: Path = field(init=False)

    def __post_init__(self) -> None:
        self.run_toml = self.path / "run.toml"
        self.supernet = self.path / "supernet.pt"
        self.evaluations = self.path / "evaluations.jsonl"
        self.search_log = self.path / "search_log.jsonl"
        self.front = self.path / "front.json"
        self.models = self.path / "models"
        self.manifest = self.models / "models.json"
        self.verification = self.path / "verification.json"

    @cached_property
    def data(self) -> ImageData:
        """The images. Raises DataError, UnknownNameError."""
        if self.given_data is not None:
            return self.given_data
        settings = self.settings
        self._check_named(settings.data, "data")
        return load_data(settings.data, root=settings.data_root, seed=settings.seed, image_size=settings.image_size)

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, for the shape and classes of the data. Raises UnknownNameError, SettingsError."""
        settings, data = self.settings, self.data
        if self.given_space is None:
            self._check_named(settings.space, "space")
            return make_space(
                settings.space,
                input_shape=data.input_shape,
                num_classes=data.num_classes,
                options=settings.space_options,
            )
        space = self.given_space
        if space.input_shape != data.input_shape or space.num_classes != data.num_classes:
            raise SettingsError(
                f"The space {space.name}",
                f"must be for images {data.input_shape} of {data.num_classes} classes, as {data.name} has",
                came=f"it is for {space.input_shape} and {space.num_classes}",
            )
        return space

    def load_front(self) -> ParetoFront:
        """The front that the search has found. Raises RunError where there is none yet."""
        if not self.front.exists():
            raise RunError(
                f"Run folder {self.path}",
                "must hold a front",
                came="it has none yet",
                do=f"Search: hwnas search {self.path}",
            )
        return ParetoFront.load(self.front, self.space)

    def begin(self) -> None:
        """Makes the folder, or checks that what lies there is of the same settings. Raises RunError."""
        if self.run_toml.exists():
            before = make_settings(read_settings(self.run_toml), where=str(self.run_toml))
            for name in type(self.settings).model_fields:
                old, new = getattr(before, name), getattr(self.settings, name)
                if old != new and name not in ADJUSTABLE:
                    raise RunError(
                        f"Run folder {self.path}",
                        f"must be of {name} = {_shown(new)}",
                        came=f"it is of {name} = {_shown(old)}",
                        do="Choose another output folder for a new run",
                    )
        elif self.evaluations.exists() or self.supernet.exists():
            raise RunError(f"Run folder {self.path}", "must hold a run.toml", came="it has results but no run.toml")
        write_text(self.run_toml, settings_to_toml(self.settings))

    def _check_named(self, name: str, what: str) -> None:
        if name.startswith(FROM_PYTHON):
            raise RunError(
                f"Run folder {self.path}",
                f"must have a {what} that can be named",
                came=f"it was made in Python with {name.removeprefix(FROM_PYTHON)}",
                do=f"Call the verb from Python with the same {what}",
            )


def open_run(path: str | Path, *, space: SearchSpace | None = None, data: ImageData | None = None) -> RunFolder:
    """The run in the folder `path`, or of the run.toml at `path`.

    Args:
        path: the folder or its run.toml.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.

    Raises:
        RunError: no run lies there.
        StoredFileError, SettingsError, UnknownNameError: its run.toml cannot be used.
    """
    folder = Path(path)
    if folder.is_file():
        folder = folder.parent
    run_toml = folder / "run.toml"
    if not run_toml.exists():
        raise RunError(
            f"Run folder {folder}",
            "must hold a run.toml",
            came="it has none" if folder.exists() else "it does not exist",
            do="Start one: hwnas search run.toml, or hwnas quickstart",
        )
    given = read_settings(run_toml)
    given.pop("output", None)
    return RunFolder(folder, make_settings(given, where=str(run_toml)), space, data)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
