"""`search`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.search import options
from smt_nas.cli.search.engine import choose_workers
from smt_nas.cli.search.front import list_search_phases, show_outcome
from smt_nas.cli.search.top_training import read_wish, run_top_training
from smt_nas.cli.talk import list_phases, say_first, talk
from smt_nas.cli.training.training_process import prepare_to_evaluate
from smt_nas.evaluators import EVALUATORS
from smt_nas.evaluators.configs import SUPERNET_PREFIX
from smt_nas.search.strategies import DEFAULT_STRATEGY

if TYPE_CHECKING:
    from smt_nas.evaluators import EvaluatorChoice
    from smt_nas.search import Settings

_SPACE = "smt"
_OF_EVALUATORS = ("data", "epochs", "image_size", "recipe", "bench")  # fields of their configs

_OF_TRAINING = ("data", "recipe")  # those that --train-top takes too


@app.command()
def search(
    context: typer.Context,
    budget: options.Budget = None,
    space: options.Space = None,
    strategy: options.Strategy = DEFAULT_STRATEGY,
    batch: options.Batch = None,
    evaluator: options.Evaluator = None,
    data: options.Data = None,
    epochs: options.Epochs = None,
    image_size: options.ImageSize = None,
    recipe: options.Recipe = None,
    bench: options.Bench = None,
    timeout: options.Timeout = None,
    objective: options.Objective = None,
    region: options.Region = None,
    device: options.Device = None,
    n: options.Count = None,
    minutes: options.Minutes = None,
    until: options.Until = None,
    seed: options.Seed = 0,
    out: options.Out = None,
    storage: options.Storage = None,
    verify: options.Verify = None,
    prove: options.Prove = None,
    workers: options.WorkerCount = None,
    engine: options.EngineName = "local",
    ray_address: options.RayAddress = None,
    trial_cpus: options.TrialCpus = None,
    trial_gpus: options.TrialGpus = None,
    train_top: options.TrainTop = None,
    show_all: options.ShowAll = False,
    as_json: console.AsJson = False,
) -> None:
    """Search a space for the networks that are worth having within a budget.

    Example: smt-nas search --budget 2.4GFLOPs --budget 12Mparams --seed 1
    """
    phases = list_search_phases("survey", _verify(verify, prove), train_top is not None)
    searched = _name_space(space, evaluator)
    within = f" within {', '.join(budget)}" if budget else ""
    say_first(context, f"Searching {searched}{within}: {list_phases(phases)}.")
    with talk(phases) as listener:
        listener.step("survey", 0, None)
        from smt_nas.report.evidence import summarise_evidence
        from smt_nas.search import create_search

        settings = _settings(context.params)
        chosen = choose_workers(context.params)
        search = create_search(settings, out, go_on=True, listener=listener, workers=chosen)
        evidence = search.directory.evidence
        if evidence is not None:
            listener.say(summarise_evidence(evidence))
        prepare_to_evaluate(search.evaluator)
        outcome = search.run()
    show_outcome(outcome, as_json, show_all, comparison=run_top_training(outcome), page=True)


def _name_space(space: str | None, evaluator: str | None) -> str:
    """What is searched, before anything is read."""
    if space is None and (evaluator or "").startswith(SUPERNET_PREFIX):
        return f"the space of {evaluator}"
    return f"space {space or _SPACE}"


def _settings(given: dict[str, Any]) -> Settings:
    """What the options ask for, by their names: a dozen in a row would be mixed up one day."""
    from smt_nas.evaluators import choose_evaluator
    from smt_nas.search import Settings
    from smt_nas.search.stop_rule import ANY_NUMBER, read_stop_rule
    from smt_nas.yaml import validated

    rule = read_stop_rule(given["minutes"], given["until"])
    wish = read_wish(given["train_top"], given["data"], given["recipe"])
    options = _options_of_evaluator(given)
    choice = choose_evaluator(given["evaluator"], options, given["seed"])
    space, budgets = _choose_scope(choice)
    names = ("device", "region", "strategy", "batch", "timeout", "seed", "storage")
    fields = {name: given[name] for name in names} | {
        "space": given["space"] or space,
        "budgets": [*(given["budget"] or []), *budgets],
        "objectives": given["objective"] or [],
        "evaluator": choice,
        "verify": _verify(given["verify"], given["prove"]),
        "n": given["n"],
        "stop": rule,
        "train_top": wish,
    }
    if fields["n"] is None:
        fields["n"] = ANY_NUMBER if rule.is_set else choice.entry.default_n
    return validated(Settings, fields, "search")


def _choose_scope(choice: EvaluatorChoice) -> tuple[str, tuple[str, ...]]:
    """Space and budgets where none are named: the evaluator's, where it is for one space alone."""
    find_scope = choice.entry.find_scope
    return (_SPACE, ()) if find_scope is None else find_scope(choice.config)


def _options_of_evaluator(given: dict[str, Any]) -> dict[str, Any]:
    """What is said to the evaluator; with --train-top, data and recipe may be of that alone."""
    options = {name: given[name] for name in _OF_EVALUATORS}
    if given["train_top"] is None:
        return options
    word = given["evaluator"]
    entry = EVALUATORS.get(word)
    return {
        name: value
        for name, value in options.items()
        if name not in _OF_TRAINING or (entry is not None and entry.takes(name))
    }


def _verify(verify: bool | None, prove: bool | None) -> bool:
    """Whether to verify the front, by the option or by its old name."""
    values = {word for word in (verify, prove) if word is not None}
    if len(values) > 1:
        raise typer.BadParameter(
            "--prove/--no-prove is its old name and says otherwise. Drop one.",
            param_hint="--verify/--no-verify",
        )
    return values.pop() if values else True
