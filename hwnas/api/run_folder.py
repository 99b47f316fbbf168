"""The run folder: where everything of one run lies, and what it is of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from hwnas.api.settings import RunSettings, make_settings, read_settings, settings_to_toml
from hwnas.errors import RunError, SettingsError
from hwnas.files import first_difference, read_json_lines, write_text
from hwnas.front import ParetoFront
from hwnas.spaces import Architecture, MixedPrecision, SearchSpace, make_space, require_attributes
from hwnas.strategies import EVALUATIONS_SCHEMA
from hwnas.training import ImageData, launched, load_data, split_dataset

__all__ = ["DataSource", "RunFolder", "as_image_data", "open_run", "require_one_process"]

DataSource = str | ImageData | Dataset[Any] | Sequence[Dataset[Any]]
"""What may stand for data in Python: a name, ImageData, or one, two or three torch data sets."""

TRAINED_BY = ("space", "space_options", "data", "image_size", "seed", "training")
"""Settings that a supernet follows from."""

SEARCHED_BY = (
    "objectives",
    "bounds",
    "strategy",
    "strategy_options",
    "calibration_images",
    "validation_images",
    "weights",
    "network_epochs",
    "batch_size",
    "precisions",
)
"""Settings that, besides those, evaluations follow from."""

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
    predictor: Path = field(init=False)
    preferred: Path = field(init=False)
    report: Path = field(init=False)
    audit: Path = field(init=False)
    networks: Path = field(init=False)
    converted: Path = field(init=False)
    corrected_tables: Path = field(init=False)
    refinement: Path = field(init=False)
    baselines: Path = field(init=False)
    comparison: Path = field(init=False)

    def __post_init__(self) -> None:
        if self.given_space is not None:
            require_attributes(self.given_space)
        self.run_toml = self.path / "run.toml"
        self.supernet = self.path / "supernet.pt"
        self.evaluations = self.path / "evaluations.jsonl"
        self.search_log = self.path / "search_log.jsonl"
        self.front = self.path / "front.json"
        self.models = self.path / "models"
        self.manifest = self.models / "models.json"
        self.verification = self.path / "verification.json"
        self.predictor = self.path / "predictor.json"
        self.preferred = self.path / "preferred.json"
        self.report = self.path / "report.html"
        self.audit = self.path / "audit.json"
        self.networks = self.path / "networks"
        self.converted = self.path / "converted"
        self.corrected_tables = self.path / "tables"
        self.refinement = self.path / "refinement.json"
        self.baselines = self.path / "baselines"
        self.comparison = self.path / "comparison.json"

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
        """What is searched: the networks, and where there are several precisions, these too. Raises as `network_space`."""
        precisions = self.settings.precisions
        return self.network_space if len(precisions) == 1 else MixedPrecision(self.network_space, precisions)

    def split(self, architecture: Architecture) -> tuple[Architecture, str]:
        """The network of an architecture of `space`, as one of `network_space`, and the precision that it runs in.

        A network itself is taken to run in the run's first precision.
        """
        if isinstance(self.space, MixedPrecision) and architecture.space == self.space.name:
            return self.space.split(architecture)
        return architecture, self.settings.precisions[0]

    @cached_property
    def network_space(self) -> SearchSpace:
        """The space of the networks, for the shape and classes of the data. Raises UnknownNameError, SettingsError."""
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

    def load_front(self, *, empty: bool = True) -> ParetoFront:
        """The front that the search has found. Raises RunError: there is none yet, or none with members, unless `empty`."""
        if not self.front.exists():
            raise RunError(
                f"Run folder {self.path}",
                "must hold a front",
                came="it has none yet",
                do=f"Search: hwnas search {self.path}",
            )
        front = ParetoFront.load(self.front, self.space)
        if not len(front) and not empty:
            raise RunError(
                f"Run folder {self.path}",
                "must hold a front with members",
                came="its front is empty",
                do="Raise its bounds or its evaluations",
            )
        return front

    def begin(self) -> None:
        """Makes the folder, or checks that the results in it follow from the same settings, and writes run.toml.

        Raises:
            RunError: results there are of other settings.
            StoredFileError: a file is broken or could not be written.
        """
        lines = read_json_lines(self.evaluations)
        searched = len(lines) > 1
        if searched and lines[0].get("schema_version") != EVALUATIONS_SCHEMA:
            raise RunError(
                str(self.evaluations),
                f"must have schema_version {EVALUATIONS_SCHEMA} in its first line",
                came=f"it has {lines[0].get('schema_version')!r}",
                do="Choose another output folder",
            )
        if not searched:
            self.evaluations.unlink(missing_ok=True)
        if self.run_toml.exists():
            given = read_settings(self.run_toml)
            given.pop("output", None)
            before = make_settings(given, where=str(self.run_toml))
            fixed = (*(TRAINED_BY if searched or self.supernet.exists() else ()), *(SEARCHED_BY if searched else ()))
            different = first_difference(_chosen(before, fixed), _chosen(self.settings, fixed))
            if different is not None:
                key, old, new = different
                raise RunError(
                    f"Run folder {self.path}",
                    f"must be of {key} = {new!r}",
                    came=f"its results are of {old!r}",
                    do="Choose another output folder for a new run",
                )
        elif searched or self.supernet.exists():
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


def open_run(
    path: str | Path, *, space: SearchSpace | None = None, data: DataSource | None = None, output: Path | None = None
) -> RunFolder:
    """The run that `path` speaks of.

    Args:
        path: a run folder, or a run.toml: one called run.toml lies in its run folder; the folder of another is its key
            `output`, or runs/<its name>.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        output: the run folder of a run.toml, whatever it says.

    Raises:
        RunError: no run lies there.
        StoredFileError, SettingsError, UnknownNameError: its run.toml cannot be used.
    """
    place = Path(path)
    run_toml = place / "run.toml" if place.is_dir() or place.suffix != ".toml" else place
    if run_toml.parent == place and not run_toml.exists():
        raise RunError(
            f"Run folder {place}",
            "must hold a run.toml",
            came="it has none" if place.exists() else "it does not exist",
            do="Start one: hwnas search run.toml, or hwnas quickstart",
        )
    given = read_settings(run_toml)
    named = given.pop("output", None)
    if named is not None and not (isinstance(named, str) and named):
        raise SettingsError(f"{run_toml}: output", "must be a folder's name", came=f"{named!r} came")
    settings = make_settings(given, where=str(run_toml))
    own = run_toml.parent if run_toml.name == "run.toml" else Path("runs") / run_toml.stem
    if place.is_dir():
        own, named = place, None
    folder = output or (Path(named) if named else own)
    return RunFolder(folder, settings, space, as_image_data(data, settings.seed))


def as_image_data(data: DataSource | None, seed: int) -> ImageData | None:
    """`data` as ImageData, split by `seed` where it has to be; None for None. A name is loaded by the run itself."""
    if data is None or isinstance(data, ImageData):
        return data
    if isinstance(data, str):
        raise SettingsError(
            "data", "must be an object here", came=f"the name {data!r} came", do="The run knows its own data"
        )
    return split_dataset(data, seed=seed)


def require_one_process(verb: str) -> None:
    """Raises SettingsError where torchrun has started several processes: only training shares its work among them."""
    if launched():
        raise SettingsError(
            f"hwnas {verb}",
            "must run in one process",
            came="torchrun has started several",
            do=f"Train first, torchrun --nproc-per-node N -m hwnas train RUN, then {verb} in one process",
        )


def _chosen(settings: RunSettings, names: Sequence[str]) -> dict[str, Any]:
    """The settings called `names`, of the training those that its result follows from."""
    return {name: settings.training.identity() if name == "training" else getattr(settings, name) for name in names}
