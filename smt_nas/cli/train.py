"""`train`: from a network and data to weights."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app
from smt_nas.errors import ConfigError
from smt_nas.files import write_atomic

if TYPE_CHECKING:
    from smt_nas.train.run import Asked
    from smt_nas.train.settings import How
    from smt_nas.train.train_result import DryRun as Plan
    from smt_nas.train.train_result import Finished

Arch = Annotated[
    str | None,
    typer.Argument(
        help="A preset (smt_t, smt_s, smt_b, smt_l, smt_micro) or a model YAML; with --top the "
        "run directory of a search; left out to go on with --out RUN."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="digits, a folder in ImageFolder layout, fashion-mnist:DIR, cifar10:DIR, hf:NAME, "
        "tar:PATH."
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A name of `smt-nas recipes` or a YAML. Default: small up to 64 px, else imagenet1k.",
    ),
]
Change = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a value of the recipe: optimizer.lr=1e-3. Repeat."),
]
Epochs = Annotated[int | None, typer.Option(help="Instead of the recipe's.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same training.")]
Init = Annotated[
    str | None, typer.Option(help="Start from these weights: ours, or a published .pth.")
]
HeadMap = Annotated[
    str | None, typer.Option(help="File of the rows of --init's head to keep, e.g. 22K to 1K.")
]
InitShared = Annotated[
    bool, typer.Option("--init-shared", help="Take from --init what it shares with the network.")
]
Teacher = Annotated[str | None, typer.Option(help="Distil from timm:NAME or from weights of ours.")]
NewHead = Annotated[
    bool, typer.Option("--new-head", help="Give a model YAML as many classes as the data has.")
]
Out = Annotated[Path | None, typer.Option(help="Folder. Default: runs/train-NETWORK-DATA.")]
Resume = Annotated[str, typer.Option(help="auto goes on where --out holds this training.")]
Top = Annotated[
    int | None, typer.Option(min=1, help="Train the best so many of a search, and smt_t beside.")
]
Seeds = Annotated[int, typer.Option(min=1, help="With --top: trainings of each network.")]
Device = Annotated[str | None, typer.Option(help=f"{console.DEVICE_WORDS} Default: what is here.")]
WorkerCount = Annotated[
    int | None, typer.Option(min=0, help="Processes that read images. Default: by the device.")
]
Compile = Annotated[bool, typer.Option("--compile", help="Use torch.compile.")]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Memory format of images.")]
Checkpointing = Annotated[
    bool, typer.Option("--grad-checkpointing", help="Less memory, about a third more time.")
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Only operators that repeat bit for bit.")
]
SaveMinutes = Annotated[float, typer.Option(help="Between checkpoints inside an epoch.")]
SaveUpdates = Annotated[int | None, typer.Option(help="Also a checkpoint every so many updates.")]
Keep = Annotated[int, typer.Option(help="Checkpoints kept.")]
MaxUnreadable = Annotated[int, typer.Option(help="Unreadable images that are put up with.")]
Log = Annotated[
    list[str] | None,
    typer.Option(help="tensorboard, mlflow or wandb, beside metrics.csv. Repeat."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be trained, and stop.")]


@app.command()
def train(
    context: typer.Context,
    arch: Arch = None,
    data: Data = None,
    recipe: RecipeName = None,
    change: Change = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    init: Init = None,
    head_map: HeadMap = None,
    init_shared: InitShared = False,
    teacher: Teacher = None,
    new_head: NewHead = False,
    out: Out = None,
    resume: Resume = "never",
    top: Top = None,
    seeds: Seeds = 1,
    device: Device = None,
    workers: WorkerCount = None,
    compile: Compile = False,
    channels_last: ChannelsLast = False,
    grad_checkpointing: Checkpointing = False,
    deterministic: Deterministic = False,
    save_minutes: SaveMinutes = 10.0,
    save_updates: SaveUpdates = None,
    keep: Keep = 2,
    max_unreadable: MaxUnreadable = 100,
    log: Log = None,
    dry_run: DryRun = False,
    as_json: console.AsJson = False,
) -> None:
    """Train a network by a recipe; resumable at any moment, on one process or under torchrun.

    Example: smt-nas train smt_micro --data digits
    """
    words = _Words(context)  # by name: a row of thirty would be mixed up
    if top is None:
        _one(words, out, dry_run, as_json)
    else:
        _several(words, top, seeds, out, as_json)


class _Words:
    """The command line, sorted into what is trained and how."""

    def __init__(self, context: typer.Context) -> None:
        self._given = context.params
        sources = {name: context.get_parameter_source(name) for name in context.params}
        self._typed = [name for name, at in sources.items() if at and at.name == "COMMANDLINE"]
        self._check()

    @property
    def resume(self) -> bool:
        """Whether to go on with what is there."""
        word = self._given["resume"]
        if word not in ("auto", "never"):
            raise ConfigError(f"--resume: must be auto or never (got {word!r}).")
        return bool(word == "auto")

    def _check(self) -> None:
        """Refuse options that would be passed over."""
        top, typed = self._given["top"], self._typed
        if top is None and "seeds" in typed:
            raise ConfigError("--seeds: is for --top (got no --top). Use --seed for one training.")
        if top is not None and self._given["dry_run"]:
            raise ConfigError(
                f"--dry-run: shows one training (got --top {top}). Name a network, e.g. "
                "RUN/front/0.yaml."
            )

    def goes_on(self) -> bool:
        """Whether a folder alone says what to train; then nothing else may."""
        from smt_nas.train.settings import How

        given = self._given
        if given["arch"] is not None or given["out"] is None or not self.resume:
            return False
        here = {"out", "resume", "as_json", *How.model_fields}
        other = [name for name in self._typed if name not in here]
        if other and given["data"] is None:
            flag = "--set" if other[0] == "change" else f"--{other[0].replace('_', '-')}"
            raise ConfigError(
                f"{flag}: a training goes on as it began (got {given['out']} alone). Leave it out, "
                "or name ARCH and --data for another training."
            )
        return given["data"] is None

    def asked(self) -> Asked:
        """What to train."""
        from smt_nas.train.run import Asked

        arch, data = self._given["arch"], self._given["data"]
        if arch is None or data is None:
            missing = "ARCH" if arch is None else "--data"
            raise ConfigError(
                f"train: {missing} must be named (got none). E.g. smt-nas train smt_micro --data "
                "digits; with --out RUN --resume auto alone, a training goes on."
            )
        same = {f.name for f in fields(Asked)} & self._given.keys()
        values = {name: self._given[name] for name in same}
        return Asked(**values | {"name": arch, "changes": tuple(self._given["change"] or ())})

    def how(self) -> How:
        """How to train it."""
        from smt_nas.train.settings import How
        from smt_nas.yaml import validated

        values = {name: self._given[name] for name in How.model_fields if name in self._given}
        return validated(How, values | {"log": tuple(values["log"] or ())}, "train")


def _one(words: _Words, out: Path | None, dry_run: bool, as_json: bool) -> None:
    from smt_nas.train.process_group import joined
    from smt_nas.train.run import go_on, planned, start

    how, goes_on = words.how(), words.goes_on()
    with joined(how.device) as world, console.training(world.first) as talk:
        if dry_run:
            plan = planned(words.asked(), how, world)
        elif goes_on and out is not None:
            finished = go_on(out, how, world, talk)
        else:
            finished = start(words.asked(), how, out, words.resume, world, talk)
    if not world.first:
        return
    if dry_run:
        _show_plan(plan, as_json)
    else:
        _show(finished, as_json)


def _show_plan(plan: Plan, as_json: bool) -> None:
    from smt_nas.report.plan import plan_document, plan_notes, plan_view

    if as_json:
        console.show_json(plan_document(plan))
        return
    console.show(plan_view(plan))
    console.show_notes(plan_notes(plan))


def _show(finished: Finished, as_json: bool) -> None:
    from smt_nas.report.train import finished_document, finished_notes, finished_table

    if as_json:
        console.show_json(finished_document(finished))
    else:
        console.show(finished_table(finished))
        console.show_notes(finished_notes(finished))
    if finished.interrupted:
        raise typer.Exit(INTERRUPTED)


def _several(words: _Words, top: int, seeds: int, out: Path | None, as_json: bool) -> None:
    from smt_nas.report.train import compared_document, compared_notes, compared_table
    from smt_nas.train.process_group import joined
    from smt_nas.train.top import train_top

    how = words.how()
    with joined(how.device) as world, console.training(world.first) as talk:
        compared = train_top(words.asked(), top, seeds, how, out, world, talk)
    if not world.first:
        return
    document, written = compared_document(compared), compared.folder / "comparison.json"
    write_atomic(written, json.dumps(document, indent=1))
    if as_json:
        console.show_json(document)
    else:
        console.show(compared_table(compared))
        console.show_notes([*compared_notes(compared), f"Written: {written}"])
    if compared.interrupted:
        raise typer.Exit(INTERRUPTED)
