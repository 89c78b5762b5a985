"""`search`, `resume`, `front`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app

if TYPE_CHECKING:
    from smt_nas.search import Outcome

Run = Annotated[Path, typer.Argument(help="A run directory, e.g. runs/smt-2.4GFLOPs.")]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        help="What must hold: 2.4GFLOPs, 2.0..2.4GMACs, 12Mparams, 200MB, smt_t, 0.9*smt_s, 5ms, "
        "5ms@a100:b1:fp16, 1500img/s@h200:b64. Repeat for several."
    ),
]
Space = Annotated[str, typer.Option(help="A name of `smt-nas spaces`, or a YAML.")]
Strategy = Annotated[str, typer.Option(help="nsga2 or random.")]
Evaluator = Annotated[
    str,
    typer.Option(help="What rates networks: a name, or your own function, mypkg.mymod:fn."),
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
    typer.Option(help="What is wanted. Repeat. Default: score, latency, macs, params."),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="Where latency counts: a name of `smt-nas devices`, e.g. a100 or a100:b8:fp16, cpu "
        "or gpu. Default: this machine."
    ),
]
Count = Annotated[int, typer.Option("--n", help="Networks to try.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same search.")]
Out = Annotated[Path | None, typer.Option(help="Run directory. Default: runs/SPACE-BUDGET.")]
Storage = Annotated[
    str | None,
    typer.Option(help="Study storage as a URL, e.g. postgresql://… Default: RUN/study.db."),
]
Prove = Annotated[bool, typer.Option(help="Build, count, run and time every network of the front.")]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Processes. Results do not depend on it. Default: cores."
    ),
]
ShowAll = Annotated[bool, typer.Option("--all", help="Show every row of a long front.")]


@app.command()
def search(
    budget: Budget = None,
    space: Space = "smt",
    strategy: Strategy = "nsga2",
    evaluator: Evaluator = "zero-cost",
    timeout: Timeout = None,
    objective: Objective = None,
    device: Device = None,
    n: Count = 128,
    seed: Seed = 0,
    out: Out = None,
    storage: Storage = None,
    prove: Prove = True,
    workers: WorkerCount = None,
    show_all: ShowAll = False,
    as_json: console.AsJson = False,
) -> None:
    """Search a space for the networks that are worth having within a budget.

    Example: smt-nas search --budget 2.4GFLOPs --budget 12Mparams --seed 1
    """
    from smt_nas.resources import validated
    from smt_nas.search import Settings, available, start

    asked = {
        "space": space,
        "budgets": budget or [],
        "objectives": objective or [],
        "device": device,
        "strategy": strategy,
        "evaluator": evaluator,
        "timeout": timeout,
        "n": n,
        "seed": seed,
        "storage": storage,
        "prove": prove,
    }
    with console.talk() as talk:
        settings = validated(Settings, asked, "search")
        outcome = start(settings, out, listener=talk, workers=workers or available()).run()
    _show(outcome, as_json, show_all)


@app.command()
def resume(
    run: Run,
    n: Annotated[int | None, typer.Option("--n", help="Try this many networks instead.")] = None,
    storage: Storage = None,
    workers: WorkerCount = None,
    show_all: ShowAll = False,
    as_json: console.AsJson = False,
) -> None:
    """Go on with a search that was stopped, killed, or is to try more networks."""
    from smt_nas.search import available, reopen

    with console.talk() as talk:
        workers = workers or available()
        outcome = reopen(run, n=n, storage=storage, listener=talk, workers=workers).run()
    _show(outcome, as_json, show_all)


@app.command()
def front(
    run: Run, storage: Storage = None, show_all: ShowAll = False, as_json: console.AsJson = False
) -> None:
    """Show the front of a run as it is now, also while it runs. Writes nothing."""
    from smt_nas.search import reopen

    outcome = reopen(run, storage=storage, read_only=True).outcome()
    _show(outcome, as_json, show_all, exit_code=False)


def _show(outcome: Outcome, as_json: bool, show_all: bool, exit_code: bool = True) -> None:
    from smt_nas.report.front import as_document, front_notes, front_table

    if as_json:
        console.show_json(as_document(outcome))
    else:
        console.show(front_table(outcome, show_all))
        for line in front_notes(outcome, show_all):
            console.show_text(line)
    if exit_code and outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
