"""The searches of other libraries, for benchmark_search.py to run on the same oracle with the same budget.

Each is a conversation: a generator that yields the choices that it wants to know the values of, and is sent the values.
They are as the documentation of each library has them, for variables without an order where there is such a way, and each
is told the bounds. Suffixes: N architectures, V variables, M objectives.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.front import non_dominated
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace

__all__ = ["PEERS", "Conversation", "FloatArray", "Peer", "Problem"]

FloatArray = npt.NDArray[np.float64]
Conversation = Generator[IntArray, FloatArray, None]
"""Yields choices (N, V), is sent their values (N, M), NaN for what has none; ends where nothing is left to ask."""

POPULATION: Final = 50
FAILED: Final = 1e30

FIRST_BATCH: Final = 20
BATCH: Final = 10
POOL: Final = 1000
SAMPLES: Final = 32
FIT_STEPS: Final = 200
SCREENED: Final = 100
CHUNK: Final = 256


@dataclass(frozen=True)
class Problem:
    """What a search knows beforehand.

    Attributes:
        space: to search.
        objectives: to minimise, within their bounds.
        reference_M: the worst values that count, from which hypervolume is measured.
    """

    space: SearchSpace
    objectives: tuple[Objective, ...]
    reference_M: FloatArray

    @property
    def bounded(self) -> list[tuple[int, float]]:
        """Position and bound of every objective that has a bound."""
        return [(index, one.bound) for index, one in enumerate(self.objectives) if one.bound is not None]


@dataclass(frozen=True)
class Peer:
    """A search of another library.

    Attributes:
        converse: what makes its conversation about a problem, from a seed.
        packages: that it needs, and that come with the extra `bench`.
    """

    converse: Callable[[Problem, int], Conversation]
    packages: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """Those of its packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]


def pymoo_nsga2(problem: Problem, seed: int) -> Conversation:
    """pymoo's NSGA-II with the operators that its documentation gives for integers: options are numbers in their order."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.problem import Problem as PymooProblem
    from pymoo.core.termination import NoTermination
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.problems.static import StaticProblem

    options_V, bounded = problem.space.num_options_V, problem.bounded
    described = PymooProblem(
        n_var=len(options_V),
        n_obj=len(problem.objectives),
        n_ieq_constr=len(bounded),
        xl=np.zeros(len(options_V), dtype=int),
        xu=options_V - 1,
        vtype=int,
    )
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    algorithm.setup(described, termination=NoTermination(), seed=seed)
    while (population := algorithm.ask()) is not None and len(population):
        values_NM = np.nan_to_num((yield population.get("X").astype(np.int64)), nan=FAILED)
        found = {"F": values_NM}
        if bounded:
            found["G"] = np.column_stack([values_NM[:, index] - bound for index, bound in bounded])
        Evaluator().eval(StaticProblem(described, **found), population)
        algorithm.tell(infills=population)


def optuna_nsga2(problem: Problem, seed: int) -> Conversation:
    """Optuna's NSGA-II (population 50, as its default is) over categorical parameters."""
    from optuna.samplers import NSGAIISampler

    yield from _optuna_study(problem, NSGAIISampler(population_size=POPULATION, seed=seed))


def optuna_tpe(problem: Problem, seed: int) -> Conversation:
    """Optuna's tree-structured Parzen estimators over categorical parameters.

    They are multivariate, which is not the default with several objectives, but better here and several times faster.
    """
    from optuna.samplers import TPESampler

    yield from _optuna_study(problem, TPESampler(multivariate=True, seed=seed))


def _optuna_study(problem: Problem, sampler: Any) -> Conversation:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize"] * len(problem.objectives), sampler=sampler)
    options_V = problem.space.num_options_V.tolist()
    while True:
        trial = study.ask()
        choices_V = [trial.suggest_categorical(f"v{index}", range(count)) for index, count in enumerate(options_V)]
        values_M = (yield np.array([choices_V]))[0]
        if np.isnan(values_M).any():
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        for index, bound in problem.bounded:
            trial.set_constraint(problem.objectives[index].name, values_M[index] - bound)
        study.tell(trial, values_M.tolist())


def botorch_qnehvi(problem: Problem, seed: int) -> Conversation:
    """BoTorch's noisy expected hypervolume improvement (Daulton et al., NeurIPS 2021), in its logarithmic form.

    A batch is chosen one after the other, among those of random architectures and the neighbours of the front that would
    improve most alone. It is told the reference point by which it is scored.
    """
    import torch

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    space = problem.space
    choices_NV = _distinct(space.sample_choices(2 * FIRST_BATCH, rng=rng))[:FIRST_BATCH]
    values_NM = yield choices_NV
    while True:
        known_N = np.isfinite(values_NM).all(axis=1)
        front_NV = choices_NV[known_N][non_dominated(values_NM[known_N])]
        near = [space.neighbor_choices(row) for row in front_NV]
        pool_NV = _distinct(np.concatenate([choices_NV, *near, space.sample_choices(POOL, rng=rng)]))[len(choices_NV) :]
        if len(pool_NV) == 0:
            return
        batch_NV = _greatest_improvement(problem, choices_NV[known_N], values_NM[known_N], pool_NV, seed)
        choices_NV = np.concatenate([choices_NV, batch_NV])
        values_NM = np.concatenate([values_NM, (yield batch_NV)])


def _greatest_improvement(
    problem: Problem, choices_NV: IntArray, values_NM: FloatArray, pool_PV: IntArray, seed: int
) -> IntArray:
    """The batch from the pool by qLogNEHVI over Gaussian processes with a Hamming kernel, one an objective."""
    import torch
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import MixedSingleTaskGP
    from botorch.optim import optimize_acqf_discrete
    from botorch.sampling import SobolQMCNormalSampler
    from gpytorch.mlls import ExactMarginalLogLikelihood

    def excess(objective: int, bound: float) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda gains: -gains[..., objective] - bound

    known = torch.as_tensor(choices_NV, dtype=torch.double)
    model = MixedSingleTaskGP(known, -torch.as_tensor(values_NM), cat_dims=list(range(choices_NV.shape[1])))
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": FIT_STEPS}})
    improvement = qLogNoisyExpectedHypervolumeImprovement(
        model,
        ref_point=-torch.as_tensor(problem.reference_M),
        X_baseline=known,
        prune_baseline=True,
        sampler=SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=seed),
        constraints=[excess(*one) for one in problem.bounded] or None,
    )
    pool = torch.as_tensor(pool_PV, dtype=torch.double)
    with torch.no_grad():
        alone = torch.cat([improvement(part[:, None]) for part in torch.split(pool, CHUNK)])
    best = pool[alone.topk(min(SCREENED, len(pool))).indices]
    batch, _ = optimize_acqf_discrete(
        improvement, q=min(BATCH, len(best)), choices=best, max_batch_size=CHUNK, return_acq_values=False
    )
    chosen_BV: IntArray = batch.long().numpy()
    return chosen_BV


def _distinct(choices_NV: IntArray) -> IntArray:
    """Each row once, where it comes first."""
    _, first = np.unique(choices_NV, axis=0, return_index=True)
    return choices_NV[np.sort(first)]


PEERS: Final[dict[str, Peer]] = {
    "pymoo_nsga2": Peer(pymoo_nsga2, ("pymoo",)),
    "optuna_nsga2": Peer(optuna_nsga2, ("optuna",)),
    "optuna_tpe": Peer(optuna_tpe, ("optuna",)),
    "botorch_qnehvi": Peer(botorch_qnehvi, ("botorch",)),
}
