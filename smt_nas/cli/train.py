"""`train`: from a network and data to weights."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app
from smt_nas.cli.talk import say_first
from smt_nas.cli.training.inherited_init import InheritedInit, inherits
from smt_nas.cli.training.training_process import prepare_to_train
from smt_nas.cli.training.training_talk import training
from smt_nas.errors import ConfigError
from smt_nas.files import write_atomic

if TYPE_CHECKING:
    from smt_nas.train.dry_run import DryRun as Plan
    from smt_nas.train.front_training import Inherit
    from smt_nas.train.train_config import RunOptions, TrainRequest
    from smt_nas.train.training_state import TrainResult

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
        "parquet:PATH, tar:PATH."
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
    typer.Option("--set", help="Change a value of the recipe: lr=1e-3, ema.decay=0.99. Repeat."),
]
Epochs = Annotated[int | None, typer.Option(help="Instead of the recipe's.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same training.")]
Init = Annotated[
    str | None,
    typer.Option(
        help="Start from these weights: ours, or a .pth; FILE:ema for its average; supernet:RUN "
        "for those that ARCH inherits from a supernet."
    ),
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
Fast = Annotated[
    bool | None,
    typer.Option(
        "--fast/--no-fast",
        help="Hold small images in memory, fuse the optimizer, on a GPU replay updates as a graph. "
        "Default: images alone, where they can be held and a training did not begin without.",
    ),
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
    fast: Fast = None,
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
    arguments = _Arguments(context)  # by name: a row of thirty would be mixed up
    what = f"{arch or out}{f' on {data}' if data else ''}"
    if arch or out:  # else that is what is wrong
        say_first(context, f"Training {what}: loading torch and the data first.")
    if top is None:
        _train_one(arguments, out, dry_run, as_json)
    else:
        _train_front(arguments, top, seeds, out, as_json)


class _Arguments:
    """The command line, sorted into what is trained and how."""

    def __init__(self, context: typer.Context) -> None:
        self._given = dict(context.params)
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

    def resumes_folder(self) -> bool:
        """Whether a folder alone says what to train; then nothing else may."""
        from smt_nas.train.train_config import RunOptions

        given = self._given
        if given["arch"] is not None or given["out"] is None or not self.resume:
            return False
        here = {"out", "resume", "as_json", *RunOptions.model_fields}
        other = [name for name in self._typed if name not in here]
        if other and given["data"] is None:
            flag = "--set" if other[0] == "change" else f"--{other[0].replace('_', '-')}"
            raise ConfigError(
                f"{flag}: a training goes on as it began (got {given['out']} alone). Leave it out, "
                "or name ARCH and --data for another training."
            )
        return given["data"] is None

    def take_supernet(self) -> Inherit | None:
        """What gives each member of a front its weights of a supernet; None without one."""
        init = self._given["init"]
        if not inherits(init):
            return None
        self._given["init"] = None
        return InheritedInit(init, self._given["device"]).write

    def to_request(self) -> TrainRequest:
        """What to train."""
        from smt_nas.train.train_config import TrainRequest

        arch, data = self._given["arch"], self._given["data"]
        if arch is None or data is None:
            missing = "ARCH" if arch is None else "--data"
            raise ConfigError(
                f"train: {missing} must be named (got none). E.g. smt-nas train smt_micro --data "
                "digits; with --out RUN --resume auto alone, a training goes on."
            )
        if inherits(self._given["init"]) and not self._given["dry_run"]:
            taken = InheritedInit(self._given["init"], self._given["device"])
            self._given["init"] = taken.write(arch)
        same = {f.name for f in fields(TrainRequest)} & self._given.keys()
        values = {name: self._given[name] for name in same}
        return TrainRequest(
            **values | {"name": arch, "changes": tuple(self._given["change"] or ())}
        )

    def to_options(self) -> RunOptions:
        """How to train it."""
        from smt_nas.train.train_config import RunOptions
        from smt_nas.yaml import validated

        values = {
            name: self._given[name] for name in RunOptions.model_fields if name in self._given
        }
        return validated(RunOptions, values | {"log": tuple(values["log"] or ())}, "train")


def _train_one(arguments: _Arguments, out: Path | None, dry: bool, as_json: bool) -> None:
    from smt_nas.train.dry_run import dry_run
    from smt_nas.train.processes.process_group import join_process_group
    from smt_nas.train.run import resume_training, start_training

    options, resumes_folder = arguments.to_options(), arguments.resumes_folder()
    prepare_to_train(options.device)
    with join_process_group(options.device) as group, training(group.is_main) as listener:
        if dry:
            plan = dry_run(arguments.to_request(), options, group)
        elif resumes_folder and out is not None:
            result = resume_training(out, options, group, listener)
        else:
            request = arguments.to_request()
            result = start_training(request, options, out, arguments.resume, group, listener)
    if not group.is_main:
        return
    if dry:
        _show_plan(plan, as_json)
    else:
        _show_result(result, as_json)


def _show_plan(plan: Plan, as_json: bool) -> None:
    from smt_nas.report.train.dry_run import plan_document, plan_notes, plan_view

    if as_json:
        console.show_json(plan_document(plan))
        return
    console.show(plan_view(plan))
    console.show_notes(plan_notes(plan))


def _show_result(result: TrainResult, as_json: bool) -> None:
    from smt_nas.report.train.results import result_document, result_notes, result_table

    if as_json:
        console.show_json(result_document(result))
    else:
        console.show(result_table(result))
        console.show_notes(result_notes(result))
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)


def _train_front(
    arguments: _Arguments, top: int, seeds: int, out: Path | None, as_json: bool
) -> None:
    from smt_nas.report.train.results import comparison_document, comparison_notes, comparison_table
    from smt_nas.train.front_training import train_front
    from smt_nas.train.processes.process_group import join_process_group

    options, inherit = arguments.to_options(), arguments.take_supernet()
    prepare_to_train(options.device)
    with join_process_group(options.device) as group, training(group.is_main) as listener:
        request = arguments.to_request()
        comparison = train_front(request, top, seeds, options, out, group, listener, inherit)
    if not group.is_main:
        return
    document, file = comparison_document(comparison), comparison.folder / "comparison.json"
    write_atomic(file, json.dumps(document, indent=1))
    if as_json:
        console.show_json(document)
    else:
        console.show(comparison_table(comparison))
        console.show_notes([*comparison_notes(comparison), f"Written: {file}"])
    if comparison.interrupted:
        raise typer.Exit(INTERRUPTED)
