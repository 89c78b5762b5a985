"""`validate`: how far an evaluator can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.talk import say_first, talk
from smt_nas.errors import ConfigError
from smt_nas.evaluators import EVALUATORS, list_evaluators

if TYPE_CHECKING:
    from smt_nas.arch import Architecture
    from smt_nas.evaluators import Evaluation, Evaluator, EvaluatorChoice
    from smt_nas.evaluators.validation.validate import Evaluate
    from smt_nas.runtime.progress import ProgressListener

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="EVALUATOR...",
        help=list_evaluators(n for n, e in EVALUATORS.items() if e.written or not e.needs) + ".",
    ),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="BENCH",
        help="A shipped bench, a folder or a .csv; imagenet, or a .csv with its columns: "
        "published networks.",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Of a bench of several budgets: the networks trained for so many. Default: the most "
        "that half of its networks have.",
    ),
]
Plot = Annotated[
    Path | None, typer.Option(help="Draw predicted against trained: a .html or a .png.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of folds and resamples.")]
WorkerCount = Annotated[int | None, typer.Option(min=1, help="Processes. Default: cores.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds that one network may take.")]


@app.command()
def validate(
    context: typer.Context,
    evaluators: Names,
    on: On = "smt-bench-mini",
    plot: Plot = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    timeout: Timeout = None,
    workers: WorkerCount = None,
    as_json: console.AsJson = False,
) -> None:
    """Compare what evaluators say with what networks were trained to.

    Example: smt-nas validate predictor zero-cost --on smt-bench-mini

    Example: smt-nas validate joint --on imagenet
    """
    if timeout is not None and not 0 < timeout < math.inf:
        raise ConfigError(f"--timeout: must be seconds, more than 0 (got {timeout:g}). E.g. 60.")
    what = f"{', '.join(evaluators)} on {on}"
    say_first(context, f"Validating {what}: loading libraries and the bench first.")
    from smt_nas.evaluators import choose_evaluator, make_evaluator
    from smt_nas.evaluators.base import NetworkBound
    from smt_nas.evaluators.validation.family_validation import find_published
    from smt_nas.evaluators.validation.validate import validate as validate_evaluators
    from smt_nas.nasbench.table import load_bench
    from smt_nas.report.plot_files import check_drawable
    from smt_nas.report.scatter import draw_scatter
    from smt_nas.report.validation import (
        data_notes,
        validation_document,
        validation_notes,
        validation_table,
    )

    check_drawable(plot)
    choices = [choose_evaluator(word) for word in dict.fromkeys(evaluators)]
    published = find_published(on)
    if published is not None:
        options = {"--plot": plot, "--epochs": epochs, "--timeout": timeout, "--workers": workers}
        _refuse_options(options, on)
        _validate_families([c.word for c in choices], on, published, seed, as_json)
        return
    built = [make_evaluator(choice) for choice in choices]
    bench = load_bench(on, epochs)
    with talk() as listener:
        evaluate = _evaluate_in_pool({c.word: c for c in choices}, timeout, workers, listener)
        validation = validate_evaluators(built, bench, evaluate, seed, listener=listener)
    if as_json:
        console.show_json(validation_document(validation))
    else:
        console.show(validation_table(validation))
        bound = [e.evidence for e in built if isinstance(e, NetworkBound)]
        console.show_notes([*validation_notes(validation), *data_notes(bound, bench)])
    if plot is not None:
        draw_scatter(validation, plot)
        console.say(f"Wrote {plot}")


def _refuse_options(options: Mapping[str, object], on: str) -> None:
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise ConfigError(
            f"{given[0]}: is for a bench, whose networks are evaluated one by one (got --on {on}). "
            "Leave it out; --json has all figures."
        )


def _validate_families(
    evaluators: Sequence[str], on: str, path: Path, seed: int, as_json: bool
) -> None:
    """Compare with published networks."""
    from smt_nas.evaluators.validation.family_validation import validate_families
    from smt_nas.report.family_validation import family_document, family_notes, family_table

    validation = validate_families(evaluators, on, path, seed)
    if as_json:
        console.show_json(family_document(validation))
    else:
        console.show(family_table(validation))
        console.show_notes(family_notes(validation))


def _evaluate_in_pool(
    choices: Mapping[str, EvaluatorChoice],
    timeout: float | None,
    workers: int | None,
    listener: ProgressListener,
) -> Evaluate:
    """Ask evaluators on all cores, with a bar."""
    from smt_nas.evaluators.runner import EvaluationRunner
    from smt_nas.runtime.engines.engine_choice import make_engine
    from smt_nas.runtime.engines.process_pool import default_workers

    def evaluate(evaluator: Evaluator, archs: Sequence[Architecture]) -> list[Evaluation]:
        evaluations = []
        listener.step("evaluate", 0, len(archs))
        with make_engine(workers or default_workers()) as pool:
            runner = EvaluationRunner(evaluator, pool, choices[evaluator.name], timeout)
            for evaluation in runner.evaluate(archs):
                evaluations.append(evaluation)
                listener.step("evaluate", len(evaluations), len(archs))
        return evaluations

    return evaluate
