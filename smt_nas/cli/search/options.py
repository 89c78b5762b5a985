"""Options that commands on searches share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smt_nas.cli import console
from smt_nas.evaluators import EVALUATORS, default_evaluator, list_evaluators
from smt_nas.search.strategies import COSTLY_BATCH, SCREENED_BATCH, STRATEGIES

Run = Annotated[Path, typer.Argument(help="A run directory, e.g. runs/smt-2.4GFLOPs.")]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        help="What must hold: 2.4GFLOPs, 2.0..2.4GMACs, 12Mparams, 200MB, smt_t, 0.9*smt_s, 5ms, "
        "5ms@a100:b1:fp16, 1500img/s@h200:b64. Repeat for several."
    ),
]
Space = Annotated[
    str | None,
    typer.Option(
        help="A name of `smt-nas spaces`, or a YAML. Default: smt; that of the supernet with "
        "--evaluator supernet:RUN."
    ),
]
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
    typer.Option(
        help="Train candidates on it for a few epochs; as of `smt-nas train`. With --train-top "
        "it is of that training, and of candidates with --evaluator short-train."
    ),
]
TrainTop = Annotated[
    int | None,
    typer.Option(
        "--train-top",
        min=1,
        metavar="K",
        help="Then train K knee points of the front in full on --data, the preset of equal MACs "
        "beside them.",
    ),
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
    typer.Option(help="Begin no network after so many minutes of work; any number, unless --n."),
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
EngineName = Annotated[
    str, typer.Option("--engine", help="Where workers run: local, or ray, on many machines.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="auto|local|HOST:PORT", help="Of --engine ray. Default: auto."),
]
TrialCpus = Annotated[
    float | None, typer.Option(help="Of --engine ray: CPUs that one network takes. Default: 1.")
]
TrialGpus = Annotated[
    float | None,
    typer.Option(help="GPUs that one takes, may be a share. Default: 1 where there are any."),
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="published|none",
        help="Keep to designs like those ever published, or to none. Default: published, where "
        "accuracy is estimated.",
    ),
]
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
More = Annotated[
    str | None,
    typer.Option("--n", metavar="N|+M", help="Networks to try in all, or +M: so many more."),
]
MoreMinutes = Annotated[
    str | None,
    typer.Option("--minutes", metavar="M|+M", help="Of work in all, or +M: M from now on."),
]
NewBudget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        help="What must hold from now on, instead of what did; networks that were tried are judged "
        "again. Repeat for several.",
    ),
]
HistoryPlot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        help="Also draw how the search went: hypervolume and figures, trial by trial; .html or "
        ".png.",
    ),
]
