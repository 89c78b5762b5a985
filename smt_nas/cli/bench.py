"""`bench`: networks that were really trained, as evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app
from smt_nas.cli.talk import say_first, talk
from smt_nas.cli.training.training_process import prepare_to_train
from smt_nas.errors import format_count

if TYPE_CHECKING:
    from smt_nas.nasbench.build import BuildRequest, BuildResult

bench = typer.Typer(no_args_is_help=True, help="Build or show a bench: networks really trained.")
app.add_typer(bench, name="bench")

Count = Annotated[int, typer.Option("--n", min=1, help="Networks to train.")]
Space = Annotated[str, typer.Option(help="A name of `smt-nas spaces`, or a YAML.")]
Data = Annotated[str, typer.Option(help="As of `smt-nas train`, e.g. fashion-mnist:DIR.")]
Recipe = Annotated[str, typer.Option(help="A name of `smt-nas recipes`, or a YAML.")]
Macs = Annotated[str, typer.Option(help="MACs of the networks, from..to.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed plans other networks.")]
Trainings = Annotated[
    int,
    typer.Option("--seeds", min=1, max=3, help="Trainings of each network; a fifth has 3 anyway."),
]
Plan = Annotated[
    Literal["spread", "depth"],
    typer.Option(
        help="Networks spread over the space, or ladders of 4 to 28 blocks at equal MACs first "
        "(space smt_small has such networks)."
    ),
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="Of the longest training. Default: the recipe's.")
]
Budgets = Annotated[
    str | None,
    typer.Option(
        metavar="EPOCHS,...",
        help="Shorter trainings of each network too, e.g. 2,8, that branch off from the longest; "
        "the recipe must have schedule: constant.",
    ),
]
OneBudget = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        min=1,
        help="Of networks trained for so many. Default: the most that half of them have.",
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder. Default: runs/bench-SPACE-DATA.")]
Device = Annotated[str | None, typer.Option(help=f"{console.DEVICE_WORDS} Default: what is here.")]
WorkerCount = Annotated[
    int | None,
    typer.Option(min=1, help="Processes, also on one GPU. Default: cores, or 2 on a GPU."),
]
PerProcess = Annotated[
    int | None,
    typer.Option(
        min=1, help="Trainings at once in each process, on a GPU. Default: 8, or as many as fit."
    ),
]


@bench.command("build")
def build(
    context: typer.Context,
    data: Data,
    space: Space = "smt_micro",
    n: Count = 200,
    recipe: Recipe = "bench",
    plan: Plan = "spread",
    macs: Macs = "5..40MMACs",
    seed: Seed = 0,
    seeds: Trainings = 1,
    epochs: Epochs = None,
    budgets: Budgets = None,
    out: Out = None,
    device: Device = None,
    workers: WorkerCount = None,
    per_process: PerProcess = None,
    as_json: console.AsJson = False,
) -> None:
    """Train networks of a space, of all sizes, by one recipe; stop it at any time and go on.

    Example: smt-nas bench build --data fashion-mnist:DIR --n 200
    """
    networks = format_count(n, "network")
    say_first(context, f"Building a bench: {networks} of space {space}, trained on {data}.")
    from smt_nas.evaluators.topology.design_region import lies_in_region
    from smt_nas.nasbench.build import build_bench, default_folder

    prepare_to_train(device)
    request = _make_request(context.params)
    with talk() as listener:
        folder = out or default_folder(request)
        built = build_bench(request, folder, device, workers, listener, lies_in_region, per_process)
    _show_built(built, as_json)


def _make_request(given: dict[str, Any]) -> BuildRequest:
    """What is to be built, from the options by their names. Raises ConfigError."""
    from smt_nas.nasbench.build import BuildRequest, parse_budgets, parse_macs

    same = ("space", "data", "recipe", "n", "seed", "epochs", "plan")
    low, high = parse_macs(given["macs"])
    return BuildRequest(
        **{name: given[name] for name in same},
        low=low,
        high=high,
        trainings=given["seeds"],
        budgets=parse_budgets(given["budgets"]),
    )


def _show_built(built: BuildResult, as_json: bool) -> None:
    """What was built; the exit status says where that is not all."""
    from smt_nas.report.bench import build_document, build_notes

    if as_json:
        console.show_json(build_document(built))
    else:
        console.show_notes(build_notes(built))
    if built.interrupted:
        raise typer.Exit(INTERRUPTED)
    if built.failed:
        raise typer.Exit(1)


@bench.command("show")
def show(
    name: Annotated[
        str, typer.Argument(metavar="BENCH", help="A shipped bench, a folder or a .csv.")
    ] = "smt-bench-mini",
    top: Annotated[int, typer.Option(min=1, help="Networks to show, the best first.")] = 10,
    epochs: OneBudget = None,
    as_json: console.AsJson = False,
) -> None:
    """Show what a bench is, and its best networks.

    Example: smt-nas bench show
    """
    from smt_nas.nasbench.table import load_bench
    from smt_nas.report.bench import bench_document, bench_notes, bench_table

    shown = load_bench(name, epochs)
    if as_json:
        console.show_json(bench_document(shown))
        return
    console.show(bench_table(shown, top))
    console.show_notes(bench_notes(shown))


@bench.command("depth")
def depth(
    name: Annotated[
        str, typer.Argument(metavar="BENCH", help="A shipped bench, a folder or a .csv.")
    ],
    as_json: console.AsJson = False,
) -> None:
    """Show what a doubling of depth is worth at equal MACs, by the epochs of the trainings.

    Example: smt-nas bench depth runs/bench-smt_small-cifar10
    """
    from smt_nas.evaluators.validation.training_budgets import report_budgets
    from smt_nas.report.training_budgets import budgets_document, budgets_notes, budgets_table

    reports = report_budgets(name)
    if as_json:
        console.show_json(budgets_document(name, reports))
        return
    console.show(budgets_table(reports))
    console.show_notes(budgets_notes(name, reports))
