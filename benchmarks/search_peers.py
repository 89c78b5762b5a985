"""Peers, each used directly as its documentation shows. See `search_algorithms` for the rules."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from benchmarks.search_algorithms import (
    Ledger,
    Run,
    add_up_objectives,
    fill_row,
    list_parameters,
)


def run_optuna(sampler: str, ledger: Ledger, seed: int) -> None:
    """Optuna by `study.ask` and `study.tell`: ordered options as integers, others as categories.

    https://optuna.readthedocs.io/en/stable/tutorial/20_recipes/002_multi_objective.html
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    samplers: dict[str, Any] = {
        "tpe": partial(optuna.samplers.TPESampler, multivariate=True),
        "nsga2": optuna.samplers.NSGAIISampler,
        "gp": optuna.samplers.GPSampler,
    }
    directions = [optuna.study.StudyDirection.MINIMIZE] * len(ledger.task.ideal)
    study = optuna.create_study(directions=directions, sampler=samplers[sampler](seed=seed))
    parameters = list_parameters(ledger.task)
    while True:
        trial = study.ask()
        chosen = {
            column: trial.suggest_int(name, 0, len(options) - 1)
            if ordered
            else trial.suggest_categorical(name, range(len(options)))
            for column, name, options, ordered in parameters
        }
        points, violations = ledger.evaluate(fill_row(ledger.task, chosen))
        for k, violation in enumerate(violations[0]):
            trial.set_constraint(f"budget{k}", float(violation))
        study.tell(trial, points[0].tolist())


def run_pymoo(ledger: Ledger, seed: int) -> None:
    """NSGA-II of pymoo over integers, sized as in its first tutorial.

    https://pymoo.org/customization/discrete.html, https://pymoo.org/getting_started/part_2.html
    """
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    task = ledger.task
    columns = [column for column, *_ in list_parameters(task)]

    class Genes(Problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(
                n_var=len(columns),
                n_obj=len(task.ideal),
                n_ieq_constr=len(task.problem.constraints),
                xl=0,
                xu=task.problem.space.cardinality[columns] - 1,
                vtype=int,
            )

        def _evaluate(self, x: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            rows = np.zeros((len(x), len(task.problem.space.genes)), dtype=np.int64)
            rows[:, columns] = x
            out["F"], violations = ledger.evaluate(rows)
            if violations.shape[1]:
                out["G"] = violations

    algorithm = NSGA2(
        pop_size=40,
        n_offsprings=10,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    minimize(Genes(), algorithm, ("n_gen", 10**6), seed=seed)


def run_nni(ledger: Ledger, seed: int) -> None:
    """Regularized evolution of NNI over its Categoricals, budgets by its Filter.

    It knows one metric, here the mean of the scaled objectives. An engine of our own stands for
    its processes.

    https://nni.readthedocs.io/en/stable/nas/exploration_strategy.html
    """
    import logging

    import nni

    nni.set_default_framework("none")
    nni.silence_stdout()
    logging.getLogger("nni").setLevel(logging.CRITICAL)
    from nni.common.serializer import SerializableObject
    from nni.mutable import Categorical
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
    from nni.nas.space import ModelStatus, SimplifiedModelSpace
    from nni.nas.strategy import RegularizedEvolution
    from nni.nas.strategy.middleware import Chain, Filter

    task, parameters = ledger.task, list_parameters(ledger.task)

    def read_row(model: Any) -> Any:
        return fill_row(task, {i: int(model.sample[f"g{i}"]) for i, *_ in parameters})

    def holds(model: Any) -> bool:
        return bool((ledger.evaluate(read_row(model))[1] <= 0).all())

    class Engine(SequentialExecutionEngine):  # type: ignore[misc]
        def _run_single_model(self, model: Any) -> None:
            points, _ = ledger.evaluate(read_row(model))
            metric = float(add_up_objectives(task, points)[0])
            self.dispatch_model_event(FinalMetricEvent(model, metric))
            self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained))

    genes = {f"g{i}": Categorical(list(range(len(o))), label=f"g{i}") for i, _, o, _ in parameters}
    space = SimplifiedModelSpace(SerializableObject(dict, [], {}), genes, None)
    strategy = RegularizedEvolution(seed=seed)
    if task.problem.constraints:
        strategy = Chain(strategy, Filter(holds))
    strategy(space, Engine())


def run_ax(ledger: Ledger, seed: int) -> None:
    """Ax by its Client: q log NEHVI with the library's own choice of method.

    https://ax.dev/docs/tutorials/multiobjective_optimization
    """
    import logging

    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    task, parameters = ledger.task, list_parameters(ledger.task)
    client = Client(random_seed=seed)
    client.configure_experiment(
        parameters=[
            RangeParameterConfig(name=f"g{i}", bounds=(0, len(options) - 1), parameter_type="int")
            if ordered
            else ChoiceParameterConfig(
                name=f"g{i}",
                values=list(range(len(options))),
                parameter_type="int",
                is_ordered=False,
            )
            for i, _, options, ordered in parameters
        ]
    )
    m, k = len(task.ideal), len(task.problem.constraints)
    client.configure_optimization(
        objective=", ".join(f"-f{i}" for i in range(m)),
        outcome_constraints=[f"c{i} <= 0" for i in range(k)],
    )
    while True:
        for index, values in client.get_next_trials(max_trials=8).items():
            chosen = {i: int(values[f"g{i}"]) for i, *_ in parameters}
            points, violations = ledger.evaluate(fill_row(task, chosen))
            figures = {f"f{i}": float(v) for i, v in enumerate(points[0])}
            figures |= {f"c{i}": float(v) for i, v in enumerate(violations[0])}
            client.complete_trial(trial_index=index, raw_data=figures)


OPTUNA: dict[str, Run] = {s: partial(run_optuna, s) for s in ("tpe", "nsga2", "gp")}
