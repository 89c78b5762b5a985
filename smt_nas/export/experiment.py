"""A search as an experiment that NNI's manager runs: `smt-nas export-experiment RUN --format nni`.

DIR/
  config.yml         what `nnictl create --config` takes: tuner, how long it goes on, where they run
  search_space.json  the genes and their options, as NNI's tuners know choices
  trial.py           what NNI starts for a network: rates it, and reports
  experiment.yaml    the search: space, budgets, objectives, evaluator

NNI's tuners know one figure. It is the evaluator's, or the first objective where all are formulas;
the others are reported beside it. A network that breaks a budget costs nothing: what is reported of
it lies beyond all figures, the further the more it breaks.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.errors import ConfigError
from smt_nas.evaluators import Evaluator, EvaluatorChoice, TrainingEvaluator, make_evaluator
from smt_nas.evaluators.base import InputBound, keep_finite
from smt_nas.export.writing import Target, check_target, publish, staged_folder
from smt_nas.files import make_folder
from smt_nas.search.problem.problem import Problem
from smt_nas.search.problem.region import Region, load_region
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.settings import Settings
from smt_nas.search.stop_rule import count_wanted
from smt_nas.space import SearchSpace, SpaceConfig
from smt_nas.space.sample import Sample, list_options, read_samples
from smt_nas.yaml import read_yaml, to_yaml, validated

PENALTY = 1e3
"""What is reported of a network that just breaks a budget; beyond all figures of our evaluators."""
_FILE = "experiment.yaml"
_TRIAL = '''\
"""One trial of NNI: rates the network that NNI chose, and reports what it is worth."""

from pathlib import Path

import nni
from smt_nas.export.experiment import load_experiment

sample = nni.get_next_parameter()
nni.report_final_result(load_experiment(Path(__file__).parent).rate(sample))
'''


class _ExperimentFile(BaseModel):
    """What experiment.yaml says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    space: SpaceConfig
    budgets: tuple[str, ...]
    objectives: tuple[str, ...]
    device: str | None
    region: Region | None
    evaluator: EvaluatorChoice | None


@dataclass(frozen=True)
class Experiment:
    """What a trial of NNI rates networks by. Made by `load_experiment`.

    Attributes:
        problem: space, constraints, objectives.
        evaluator: None where formulas suffice.
    """

    problem: Problem
    evaluator: Evaluator | None

    @property
    def is_minimised(self) -> bool:
        """Whether less is better of the figure that NNI's tuner sees."""
        metric = self.problem.evaluated_metric or self.problem.objectives[0]
        return metric.direction == "min"

    def rate(self, sample: Sample) -> dict[str, float]:
        """What is reported of a network: `default`, which the tuner sees, and figures by name.

        Raises:
            SpaceError: a gene is missing, or its value is no option.
            ConfigError: the evaluator could not rate it; NNI counts the trial as failed.
        """
        problem = self.problem
        genes = read_samples(problem.space, [sample])
        values = problem.values(genes)
        figures = {
            q.name: float(values[q.name][0]) for q in problem.objectives if not q.is_evaluated
        }
        violation = float(problem.total_violation(values)[0])
        if violation > 0:
            default = PENALTY * (1 + violation) * (1 if self.is_minimised else -1)
            return {"default": default, "violation": violation, **figures}
        metric = problem.evaluated_metric
        if metric is None or self.evaluator is None:
            return {"default": figures[problem.objectives[0].name], **figures}
        [arch] = problem.space.decode(genes)
        evaluation = keep_finite(self.evaluator.evaluate([arch])[0], metric.metric)
        if evaluation.value is None or evaluation.compared is None:
            raise ConfigError(f"network {arch.key}: has no {metric.name} ({evaluation.failure}).")
        return {"default": evaluation.compared, metric.name: evaluation.value, **figures}


def load_experiment(folder: Path) -> Experiment:
    """What `write_experiment` wrote, in the process of a trial.

    Raises:
        ConfigError: experiment.yaml cannot be read or breaks a rule, or its evaluator cannot be
            made here.
    """
    path = folder / _FILE
    file = validated(_ExperimentFile, read_yaml(path), str(path))
    # of a trial, NNI's own folder
    return _make_experiment(file, Path(os.environ.get("NNI_OUTPUT_DIR", folder)) / "training")


def _make_experiment(file: _ExperimentFile, trainings: Path) -> Experiment:
    space = SearchSpace(file.space, file.name)
    problem = Problem.of(space, file.budgets, file.objectives, file.device)
    problem = problem.within(load_region(file.region))
    if problem.evaluated_metric is None or file.evaluator is None:
        return Experiment(problem, None)
    evaluator = make_evaluator(file.evaluator)
    if isinstance(evaluator, InputBound):
        evaluator = evaluator.for_space(space)
    if isinstance(evaluator, TrainingEvaluator):
        evaluator = evaluator.in_workdir(trainings, workers=1)
    return Experiment(problem, evaluator)


def write_experiment(run: Path, out: Path) -> tuple[Path, ...]:
    """Write the experiment of a run directory into a new folder.

    Args:
        run: of a search; its trials are not looked at.
        out: the folder; it appears whole or not at all.

    Returns: the files, config.yml first.

    Raises:
        ConfigError: the evaluator was handed in by a program, so that no trial can make it.
        StoreError: not a run directory, or `out` holds something or cannot be written.
    """
    directory = RunDirectory.open(run, reads_trials=False)
    settings = directory.settings
    if settings.evaluator is not None and settings.evaluator.handed_in:
        raise ConfigError(
            f"{run}: its evaluator {settings.evaluator.name} was handed in by a program (got "
            "none). Search with one of --evaluator, e.g. mypkg.mymod:fn."
        )
    target = Target(out, out.name, is_folder=True)
    check_target(target, force=False)
    texts = _write_texts(directory.space, settings, out)
    make_folder(out.parent, "Choose another --out.")
    with staged_folder(out) as staging:
        for name, text in texts.items():
            (staging / name).write_text(text, encoding="utf-8")
        return publish([staging / name for name in texts], target, force=False)


def _write_texts(space: SearchSpace, settings: Settings, out: Path) -> dict[str, str]:
    """The files of an experiment, by name."""
    file = _ExperimentFile(
        name=space.name,
        space=space.config,
        budgets=settings.budgets,
        objectives=settings.objectives,
        device=settings.device,
        region=settings.region,
        evaluator=settings.evaluator,
    )
    experiment = _make_experiment(file, out)
    choices = {
        name: {"_type": "choice", "_value": options}
        for name, options in list_options(space).items()
    }
    return {
        "config.yml": to_yaml(_configure(experiment, settings, out)),
        "search_space.json": json.dumps(choices, indent=1) + "\n",
        "trial.py": _TRIAL,
        _FILE: to_yaml(file.model_dump(mode="json", by_alias=True)),
    }


def _limit(settings: Settings) -> dict[str, Any]:
    """How long NNI is to go on: by trials, by time, or, of what stops by a stall, until stopped."""
    limits: dict[str, Any] = {}
    if (wanted := count_wanted(settings.n)) is not None:
        limits["maxTrialNumber"] = wanted
    if settings.stop.minutes is not None:
        limits["maxExperimentDuration"] = f"{math.ceil(60 * settings.stop.minutes)}s"
    return limits


def _configure(experiment: Experiment, settings: Settings, out: Path) -> dict[str, Any]:
    """NNI's config: https://nni.readthedocs.io/en/stable/reference/experiment_config.html."""
    mode = "minimize" if experiment.is_minimised else "maximize"
    return {
        "experimentName": f"smt-nas {out.resolve().name}",
        "searchSpaceFile": "search_space.json",
        "trialCommand": f"{shlex.quote(sys.executable)} trial.py",
        "trialCodeDirectory": ".",
        "trialConcurrency": 1,
        **_limit(settings),
        "experimentWorkingDirectory": "nni-experiments",
        "tuner": {"name": "TPE", "classArgs": {"optimize_mode": mode, "seed": settings.seed}},
        "trainingService": {"platform": "local"},
    }
