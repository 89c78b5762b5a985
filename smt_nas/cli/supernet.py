"""`supernet`: one training of all networks of a space, which then rates each in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app
from smt_nas.cli.talk import say_first
from smt_nas.cli.training.training_process import prepare_to_train
from smt_nas.cli.training.training_talk import training

if TYPE_CHECKING:
    from smt_nas.evaluators.supernet import SupernetOptions, SupernetRunOptions

supernet = typer.Typer(
    no_args_is_help=True,
    help="Train all networks of a space at once, or show such a training.",
)
app.add_typer(supernet, name="supernet")

Space = Annotated[
    str,
    typer.Option(
        help="A name of `smt-nas spaces`, or a YAML. The largest network may have 16 times the "
        "MACs of the smallest."
    ),
]
Data = Annotated[str, typer.Option(help="As of `smt-nas train`, e.g. digits, fashion-mnist:DIR.")]
Macs = Annotated[
    str | None,
    typer.Option(
        metavar="FROM..TO",
        help="Train and rate networks of these MACs only, e.g. 2..20MMACs. Default: all.",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(help="Of work, over all its starts. Default: the recipe's epochs."),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Instead of epochs; a step trains four networks.")
]
Recipe = Annotated[str, typer.Option(help="A name of `smt-nas recipes`, or a YAML.")]
Change = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a value of the recipe: lr=1e-3, ema.decay=0.99. Repeat."),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same supernet.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder; one that holds this very supernet is gone on with. Default: "
        "runs/supernet-SPACE-DATA."
    ),
]
Device = Annotated[str | None, typer.Option(help=f"{console.DEVICE_WORDS} Default: what is here.")]
WorkerCount = Annotated[
    int,
    typer.Option("--workers", min=0, help="Processes that read images not held in memory."),
]
SaveMinutes = Annotated[float, typer.Option(help="Between checkpoints.")]
Keep = Annotated[int, typer.Option(min=1, help="Checkpoints kept.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Take a space of a wider range of MACs, whose networks hamper each other."
    ),
]


@supernet.command("train")
def train(
    context: typer.Context,
    data: Data,
    space: Space = "smt_micro_supernet",
    macs: Macs = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    steps: Steps = None,
    recipe: Recipe = "supernet",
    change: Change = None,
    seed: Seed = 0,
    out: Out = None,
    device: Device = None,
    workers: WorkerCount = 0,
    save_minutes: SaveMinutes = 1.0,
    keep: Keep = 3,
    force: Force = False,
    as_json: console.AsJson = False,
) -> None:
    """Train all networks of a space at once; stop it at any time, the same command goes on.

    Example: smt-nas supernet train --data digits --minutes 3
    """
    say_first(
        context, f"Training a supernet of space {space} on {data}: loading torch and data first."
    )
    from smt_nas.evaluators.supernet import train_supernet
    from smt_nas.report.supernet import result_document, result_notes

    folder = out or _default_folder(space, data)
    options, run = _read_options(context.params), _read_run_options(context.params)
    prepare_to_train(run.device)
    with training() as listener:
        result = train_supernet(options, folder, listener, run)
    if as_json:
        console.show_json(result_document(result))
    else:
        console.show_notes(result_notes(result))
    if result.interrupted:
        console.say(f"Next: {_repeat_command(context, folder)}")
        raise typer.Exit(INTERRUPTED)


@supernet.command("info")
def info(
    run: Annotated[Path, typer.Argument(help="Folder of `smt-nas supernet train`.")],
    as_json: console.AsJson = False,
) -> None:
    """Show what a supernet was trained for: range, losses, coverage.

    Example: smt-nas supernet info runs/supernet-smt_micro_supernet-digits
    """
    from smt_nas.evaluators.supernet.supernet_evaluator import open_supernet
    from smt_nas.report.supernet import info_document, info_notes, info_table

    opened = open_supernet(str(run), "cpu", partial=True)
    if as_json:
        console.show_json(info_document(opened))
        return
    console.show(info_table(opened))
    console.show_notes(info_notes(opened))


def _read_options(given: dict[str, Any]) -> SupernetOptions:
    """What decides the weights, by the names of the options."""
    from smt_nas.evaluators.supernet import SupernetOptions
    from smt_nas.nasbench.build import parse_macs
    from smt_nas.yaml import validated

    changes = tuple(given["change"] or ())
    names = ("space", "data", "recipe", "seed", "steps", "minutes", "epochs", "force")
    macs = None if given["macs"] is None else parse_macs(given["macs"])
    values = {name: given[name] for name in names} | {"changes": changes, "macs": macs}
    return validated(SupernetOptions, values, "supernet")


def _read_run_options(given: dict[str, Any]) -> SupernetRunOptions:
    """What may be other at every start."""
    from smt_nas.evaluators.supernet import SupernetRunOptions
    from smt_nas.yaml import validated

    names = ("device", "workers", "save_minutes", "keep")
    return validated(SupernetRunOptions, {name: given[name] for name in names}, "supernet")


def _default_folder(space: str, data: str) -> Path:
    from smt_nas.train.data.sources import shorten_spec

    return Path("runs") / f"supernet-{Path(space).stem}-{shorten_spec(data)}"


def _repeat_command(context: typer.Context, folder: Path) -> str:
    """The command as it was typed, with the folder that goes on."""
    from smt_nas.files import shell_word

    words = ["smt-nas supernet train"]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        source = context.get_parameter_source(name)
        if name == "out" or source is None or source.name != "COMMANDLINE":
            continue
        flag = parameter.opts[0]
        if value is True:
            words.append(flag)
            continue
        values = value if isinstance(value, list | tuple) else [value]
        words += [f"{flag} {shell_word(str(v))}" for v in values]
    return " ".join([*words, f"--out {shell_word(folder)}"])
