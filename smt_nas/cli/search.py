"""`search`, `resume`, `front`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app
from smt_nas.cli.talk import list_phases, say_first, talk
from smt_nas.evaluators import EVALUATORS, default_evaluator, list_evaluators
from smt_nas.search.proposal.strategies import (
    COSTLY_BATCH,
    DEFAULT_STRATEGY,
    SCREENED_BATCH,
    STRATEGIES,
)

if TYPE_CHECKING:
    from smt_nas.runtime.progress import Phase
    from smt_nas.search import Outcome, Settings

Run = Annotated[Path, typer.Argument(help="A run directory, e.g. runs/smt-2.4GFLOPs.")]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        help="What must hold: 2.4GFLOPs, 2.0..2.4GMACs, 12Mparams, 200MB, smt_t, 0.9*smt_s, 5ms, "
        "5ms@a100:b1:fp16, 1500img/s@h200:b64. Repeat for several."
    ),
]
Space = Annotated[str, typer.Option(help="A name of `smt-nas spaces`, or a YAML.")]
Strategy = Annotated[str, typer.Option(help=f"How networks are proposed: {', '.join(STRATEGIES)}.")]
Batch = Annotated[
    int | None,
    typer.Option(
        help="Networks that are proposed together; as many as workers, or more. Default: "
        f"{COSTLY_BATCH}, {SCREENED_BATCH} where nothing is learnt from them."
    ),
]


def _evaluator_help() -> str:
    chosen = [f"with --{e.chosen_by} {name}" for name, e in EVALUATORS.items() if e.chosen_by]
    default = ", ".join([default_evaluator(), *chosen])
    return f"What rates networks: {list_evaluators(EVALUATORS)}. Default: {default}."


Evaluator = Annotated[str | None, typer.Option(help=_evaluator_help())]
Data = Annotated[
    str | None,
    typer.Option(help="Train candidates on it for a few epochs; as of `smt-nas train`."),
]
Epochs = Annotated[
    int | None, typer.Option(help="Of a candidate that is trained to the end. Default: 4.")
]
ImageSize = Annotated[
    int | None, typer.Option(help="Pixels that candidates are trained at. Default: the space's.")
]
Recipe = Annotated[
    str | None, typer.Option(help="Of these trainings, a name of `smt-nas recipes` or a YAML.")
]
Bench = Annotated[
    str | None,
    typer.Option(help="Predict from your own networks: folder or .csv of `smt-nas bench build`."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="A network that takes longer to rate is a failed one. Default: any time.",
    ),
]
Objective = Annotated[
    list[str] | None,
    typer.Option(
        help="What is wanted. Repeat. Default: the evaluator's figure, latency, macs, params."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help=f"Where latency counts: {console.DEVICE_WORDS} E.g. a100:b8:fp16. Default: this "
        "machine."
    ),
]
Count = Annotated[
    int | None,
    typer.Option("--n", help="Networks to try. Default: as many as suit the evaluator."),
]
Minutes = Annotated[
    float | None,
    typer.Option(help="Begin no network after so many minutes of work; with it any --n is tried."),
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="hv-stall:R",
        help="Stop after R rounds in which the front's hypervolume grew by no more than 0.1 %.",
    ),
]
Seed = Annotated[int, typer.Option(help="Same seed, same search, for the same --device.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Run directory; one that holds this very search is gone on with. "
        "Default: runs/SPACE-BUDGET."
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(help="Study storage as a URL, e.g. postgresql://… Default: RUN/study.db."),
]
Verify = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        help="Build, count, run and time every network of the front. Default: verify.",
    ),
]
Prove = Annotated[bool | None, typer.Option("--prove/--no-prove", hidden=True)]  # its old name
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Processes. Results do not depend on it. Default: cores."
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="published|none",
        help="Keep to designs like those ever published, or to none. Default: published, where "
        "accuracy is estimated.",
    ),
]
_OF_EVALUATORS = ("data", "epochs", "image_size", "recipe", "bench")  # fields of their configs
AcceptChange = Annotated[
    bool,
    typer.Option(
        "--accept-changed-evaluator",
        help="Go on though what rates networks has changed: those tried are rated again.",
    ),
]
ShowAll = Annotated[bool, typer.Option("--all", help="Show every row of a long front.")]
ShowEvidence = Annotated[
    bool, typer.Option("--evidence", help="Tell in full what the figures rest on.")
]


@app.command()
def search(
    context: typer.Context,
    budget: Budget = None,
    space: Space = "smt",
    strategy: Strategy = DEFAULT_STRATEGY,
    batch: Batch = None,
    evaluator: Evaluator = None,
    data: Data = None,
    epochs: Epochs = None,
    image_size: ImageSize = None,
    recipe: Recipe = None,
    bench: Bench = None,
    timeout: Timeout = None,
    objective: Objective = None,
    region: Region = None,
    device: Device = None,
    n: Count = None,
    minutes: Minutes = None,
    until: Until = None,
    seed: Seed = 0,
    out: Out = None,
    storage: Storage = None,
    verify: Verify = None,
    prove: Prove = None,
    workers: WorkerCount = None,
    show_all: ShowAll = False,
    as_json: console.AsJson = False,
) -> None:
    """Search a space for the networks that are worth having within a budget.

    Example: smt-nas search --budget 2.4GFLOPs --budget 12Mparams --seed 1
    """
    phases = _phases("survey", _verify(verify, prove))
    within = f" within {', '.join(budget)}" if budget else ""
    say_first(context, f"Searching space {space}{within}: {list_phases(phases)}.")
    with talk(phases) as listener:
        listener.step("survey", 0, None)
        from smt_nas.report.evidence import summarise_evidence
        from smt_nas.search import create_search

        settings = _settings(context.params)
        search = create_search(settings, out, go_on=True, listener=listener, workers=workers)
        evidence = search.directory.evidence
        if evidence is not None:
            listener.say(summarise_evidence(evidence))
        outcome = search.run()
    _show(outcome, as_json, show_all)


def _phases(first: Phase, verify: bool) -> list[Phase]:
    """What a search does, in this order; the middle ones take turns."""
    return [first, "screen", "evaluate", *(("count", "time") if verify else ())]


def _settings(given: dict[str, Any]) -> Settings:
    """What the options ask for, by their names: a dozen in a row would be mixed up one day."""
    from smt_nas.evaluators import choose_evaluator
    from smt_nas.search import Settings
    from smt_nas.search.watch.stopping import ANY_NUMBER, read_stop_rule
    from smt_nas.yaml import validated

    rule = read_stop_rule(given["minutes"], given["until"])
    options = {name: given[name] for name in _OF_EVALUATORS}
    choice = choose_evaluator(given["evaluator"], options, given["seed"])
    names = ("space", "device", "region", "strategy", "batch", "timeout", "seed", "storage")
    fields = {name: given[name] for name in names} | {
        "budgets": given["budget"] or [],
        "objectives": given["objective"] or [],
        "evaluator": choice,
        "verify": _verify(given["verify"], given["prove"]),
        "n": given["n"],
        "stop": rule,
    }
    if fields["n"] is None:
        fields["n"] = ANY_NUMBER if rule.is_set else choice.entry.default_n
    return validated(Settings, fields, "search")


def _verify(verify: bool | None, prove: bool | None) -> bool:
    """Whether to verify the front, by the option or by its old name."""
    values = {word for word in (verify, prove) if word is not None}
    if len(values) > 1:
        raise typer.BadParameter(
            "--prove/--no-prove is its old name and says otherwise. Drop one.",
            param_hint="--verify/--no-verify",
        )
    return values.pop() if values else True


@app.command()
def resume(
    context: typer.Context,
    run: Run,
    n: Annotated[int | None, typer.Option("--n", help="Try this many networks instead.")] = None,
    storage: Storage = None,
    workers: WorkerCount = None,
    accept_changed_evaluator: AcceptChange = False,
    show_all: ShowAll = False,
    as_json: console.AsJson = False,
) -> None:
    """Go on with a search that was stopped, killed, or is to try more networks."""
    phases = _phases("open", verify=True)
    say_first(context, f"Going on with {run}: {list_phases(phases)}, as far as is needed.")
    with talk(phases) as listener:
        listener.step("open", 0, None)
        from smt_nas.search import resume_search

        search = resume_search(
            run,
            n=n,
            storage=storage,
            accept_changed_evaluator=accept_changed_evaluator,
            listener=listener,
            workers=workers,
        )
        outcome = search.run()
    _show(outcome, as_json, show_all)


@app.command()
def front(
    run: Run,
    storage: Storage = None,
    show_all: ShowAll = False,
    evidence: ShowEvidence = False,
    as_json: console.AsJson = False,
) -> None:
    """Show the front of a run as it is now, also while it runs. Writes nothing."""
    from smt_nas.search import resume_search

    outcome = resume_search(run, storage=storage, read_only=True).outcome()
    _show(outcome, as_json, show_all, evidence, exit_code=False)


def _show(
    outcome: Outcome,
    as_json: bool,
    show_all: bool,
    evidence: bool = False,
    exit_code: bool = True,
) -> None:
    from smt_nas.report.search.front import as_document, front_notes, front_table

    if as_json:
        console.show_json(as_document(outcome))
    else:
        console.show(front_table(outcome, show_all))
        console.show_notes(front_notes(outcome, show_all, evidence))
    if exit_code and outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
    if exit_code and not outcome.front:
        raise typer.Exit(1)
