"""The errors of a run's candidates, each a network in a precision, whatever its weights come from."""

from collections.abc import Sequence
from dataclasses import dataclass

from hwnas.api.run_folder import RunFolder
from hwnas.api.training import evaluator_of, network_evaluator_of
from hwnas.spaces import Architecture, SuperNet
from hwnas.training import ConvertedEvaluator, NetworkEvaluator, SubnetEvaluator, training_identity

__all__ = ["AloneErrors", "SharedErrors"]

FLOAT = "fp32"


@dataclass(frozen=True)
class SharedErrors:
    """Of candidates whose networks share the weights of one supernet.

    Attributes:
        run: whose candidates.
        float_errors: scores the networks.
        converted: scores them in other precisions.
    """

    run: RunFolder
    float_errors: SubnetEvaluator
    converted: ConvertedEvaluator

    @classmethod
    def of(cls, run: RunFolder, supernet: SuperNet) -> "SharedErrors":
        """Those of a run whose supernet is trained. Raises as `evaluator_of`."""
        return cls(run, evaluator_of(run, supernet), _converted(run))

    def errors(self, architectures: Sequence[Architecture]) -> list[float]:
        """The share of the validation part that each candidate classifies wrongly, from 0 to 1."""
        return [self._error(*self.run.split(one)) for one in architectures]

    def _error(self, network: Architecture, precision: str) -> float:
        if precision == FLOAT:
            return self.float_errors.errors([network])[0]
        return self.converted.error(network, precision, lambda: self.float_errors.subnet(network))


@dataclass(frozen=True)
class AloneErrors:
    """Of candidates whose networks are each trained by themselves.

    Attributes:
        run: whose candidates.
        float_errors: trains and scores the networks.
        converted: scores them in other precisions.
    """

    run: RunFolder
    float_errors: NetworkEvaluator
    converted: ConvertedEvaluator

    @classmethod
    def of(cls, run: RunFolder) -> "AloneErrors":
        """Those of a run."""
        return cls(run, network_evaluator_of(run), _converted(run))

    def error(self, architecture: Architecture, parent: Architecture | None = None) -> float:
        """The share of the validation part that a candidate classifies wrongly, trained from its parent's weights."""
        found = self.float_errors.error(architecture, parent)
        network, precision = self.run.split(architecture)
        if precision == FLOAT:
            return found
        of = {"parent": None if parent is None else list(parent.choices)}
        return self.converted.error(network, precision, lambda: self.float_errors.network(architecture), of=of)

    def errors(self, architectures: Sequence[Architecture]) -> list[float]:
        """The same of several candidates without parents."""
        return [self.error(one) for one in architectures]


def _converted(run: RunFolder) -> ConvertedEvaluator:
    settings = run.settings
    of = {"weights": settings.weights, **training_identity(run.data, settings.training, settings.seed)}
    return ConvertedEvaluator(
        run.network_space,
        run.data,
        run.converted,
        of=of if settings.weights == "shared" else {**of, "network_epochs": settings.network_epochs},
        calibration_images=settings.calibration_images,
        validation_images=settings.validation_images,
        seed=settings.seed,
    )
