"""`resume`."""

from __future__ import annotations

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.search import options
from smt_nas.cli.search.engine import choose_workers
from smt_nas.cli.search.front import list_search_phases, show_outcome
from smt_nas.cli.search.top_training import run_top_training
from smt_nas.cli.talk import list_phases, say_first, talk
from smt_nas.cli.training.training_process import prepare_to_evaluate


@app.command()
def resume(
    context: typer.Context,
    run: options.Run,
    n: options.More = None,
    minutes: options.MoreMinutes = None,
    until: options.Until = None,
    budget: options.NewBudget = None,
    storage: options.Storage = None,
    workers: options.WorkerCount = None,
    engine: options.EngineName = "local",
    ray_address: options.RayAddress = None,
    trial_cpus: options.TrialCpus = None,
    trial_gpus: options.TrialGpus = None,
    accept_changed_evaluator: options.AcceptChange = False,
    show_all: options.ShowAll = False,
    as_json: console.AsJson = False,
) -> None:
    """Go on with a search that was stopped or killed, try more networks, or change its budget.

    Example: smt-nas resume runs/smt-2.4GFLOPs --n +100
    """
    phases = list_search_phases("open", verify=True)
    say_first(context, f"Going on with {run}: {list_phases(phases)}, as far as is needed.")
    with talk(phases) as listener:
        listener.step("open", 0, None)
        from smt_nas.search import resume_search
        from smt_nas.search.setup.wishes import read_wishes

        search = resume_search(
            run,
            wishes=read_wishes(n, minutes, until),
            budgets=budget or (),
            storage=storage,
            accept_changed_evaluator=accept_changed_evaluator,
            listener=listener,
            workers=choose_workers(context.params),
        )
        prepare_to_evaluate(search.evaluator)
        outcome = search.run()
    show_outcome(outcome, as_json, show_all, comparison=run_top_training(outcome), page=True)
