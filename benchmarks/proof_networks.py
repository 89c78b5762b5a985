"""The networks of a proof: what each way of choosing picks, and what that is compared with.

    published-deep    SMT-T's own depths 2, 2, 8, 1 and its other choices, at narrower widths
    published-even    the same with half the depths, widths and depths scaled together
    default           what `smt-nas search` recommends
    predictor         what `smt-nas search --evaluator predictor` recommends
    supernet          likewise, where there is such an evaluator
    random-1 to -3    drawn from the space, of these MACs, within the region of published designs:
                      its features have no scale, so it says something of small images too
    before            what the build of commit 11cabf9 recommended
    short-train       what a search recommends that trains its candidates briefly

Each is decided once and kept as a model config; a search goes on after a kill.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock

from benchmarks.proof_setup import TOLERANCE, Block, Setup
from smt_nas import costs
from smt_nas.arch import PRESETS, Architecture, Stage, Stem, load_arch
from smt_nas.errors import ConfigError, SmtNasError, StoreError
from smt_nas.evaluators import EVALUATORS, EvaluatorChoice
from smt_nas.evaluators.configs import ShortTraining
from smt_nas.evaluators.short_train.evaluator import ShortTrainEvaluator
from smt_nas.evaluators.topology.design_region import load_region
from smt_nas.files import make_folder, write_atomic
from smt_nas.search import Settings, create_search
from smt_nas.search.results.recommendation import recommend
from smt_nas.space import SearchSpace
from smt_nas.train.writers import read_metrics
from smt_nas.yaml import read_yaml, validated

BEFORE = Path(__file__).parent / "data" / "proof_before.yaml"
REFERENCES = ("published-deep", "published-even")
PICKS = ("default", "predictor", "supernet", "short-train")
_DEPTHS = {"published-deep": (2, 2, 8, 1), "published-even": (1, 1, 4, 1)}
_HEADS = (2, 2, 4, 8)  # of attention, as the space has them: SMT-T's would be of five channels
_MULTIPLES = (4, 4, 4, 8)  # of widths, which four kernels and the heads divide
_SCALES = np.geomspace(1.0, 0.05, 200)  # of SMT-T's widths
_CLOSE = 0.01  # of MACs: among widths this near, those in the published proportion count
_DRAWS, _MOST_DRAWS = 20_000, 100
_SEED = 0


def resolve_candidate(setup: Setup, block: Block, name: str) -> Architecture | None:
    """The network of a candidate, decided now if it was not before; None where there is none.

    Raises:
        StoreError: the folder cannot be written.
    """
    folder = setup.candidate_folder(block)
    make_folder(folder, "Choose another folder.")
    config, reason = folder / f"{name}.yaml", folder / f"{name}.txt"
    with FileLock(folder / f".{name}.lock"):
        if config.is_file():
            return load_arch(config)
        if reason.is_file():
            return None
        try:
            arch = CANDIDATES[name](setup, block)
        except StoreError:
            raise
        except SmtNasError as error:
            write_atomic(reason, f"{error}\n")
            return None
        arch.save(config)
        return arch


def read_candidates(setup: Setup, block: Block) -> tuple[dict[str, Architecture], dict[str, str]]:
    """The candidates that are decided, by name, and why others are left out."""
    folder = setup.candidate_folder(block)
    networks, reasons = {}, {}
    for name in CANDIDATES:
        if (folder / f"{name}.yaml").is_file():
            networks[name] = load_arch(folder / f"{name}.yaml")
        elif (folder / f"{name}.txt").is_file():
            reasons[name] = (folder / f"{name}.txt").read_text(encoding="utf-8").strip()
    return networks, reasons


def decide_candidate(task: tuple[Setup, Block, str]) -> str | StoreError:
    """`resolve_candidate` in a worker. Returns what came of it, in words."""
    setup, block, name = task
    try:
        arch = resolve_candidate(setup, block, name)
    except StoreError as error:
        return error
    what = "left out" if arch is None else f"{arch.key}, {costs.of(arch).macs / 1e6:.2f} MMACs"
    return f"{block.label} {name}: {what}"


def forget_reasons(setup: Setup) -> None:
    """Let candidates that were left out be tried again: what they lacked may be there now."""
    for path in (setup.folder / "candidates").glob("*/*.txt"):
        path.unlink()


def scale_published(name: str, setup: Setup, block: Block) -> Architecture:
    """SMT-T at other depths and narrower widths, of the MACs of the budget.

    Widths keep the published proportion as near as whole heads and kernels allow.
    """
    networks = {arch.key: (arch, far) for arch, far in _list_scaled(_DEPTHS[name], setup, block)}
    macs = {
        key: abs(costs.of(arch).macs / block.mmacs / 1e6 - 1) for key, (arch, _) in networks.items()
    }
    close = [key for key in networks if macs[key] <= _CLOSE]
    best = min(close, key=lambda key: networks[key][1], default=min(macs, key=macs.__getitem__))
    if macs[best] > TOLERANCE:
        raise ConfigError(
            f"{name}: must have the MACs of the budget (got {macs[best]:.1%} off at best). Choose "
            "another --budgets."
        )
    return networks[best][0]


def _list_scaled(
    depths: tuple[int, ...], setup: Setup, block: Block
) -> Iterator[tuple[Architecture, float]]:
    """Networks, each with how far its widths are from the published proportion, in logs."""
    published = PRESETS["smt_t"].stages
    seen = set[tuple[int, ...]]()
    for scale in _SCALES:
        exact = [stage.dim * float(scale) for stage in published]
        near = [
            {max(m, math.floor(x / m) * m), max(m, math.ceil(x / m) * m)}
            for x, m in zip(exact, _MULTIPLES, strict=True)
        ]
        for dims in itertools.product(*near):
            if dims not in seen:
                seen.add(dims)
                ratios = np.log(np.divide(dims, [stage.dim for stage in published]))
                yield _build_like_published(dims, depths, setup, block), float(np.ptp(ratios))


def _build_like_published(
    dims: tuple[int, ...], depths: tuple[int, ...], setup: Setup, block: Block
) -> Architecture:
    there = setup.derive_space(block.data)
    rows = zip(PRESETS["smt_t"].stages, dims, depths, _HEADS, strict=True)
    s1, s2, s3, s4 = (
        Stage(
            dim=dim,
            depth=depth,
            mlp_ratio=published.mlp_ratio,
            attention_ratio=published.attention_ratio,
            head_dim=dim // heads,
        )
        for published, dim, depth, heads in rows
    )
    return Architecture(
        image_size=there.image_size,
        num_classes=there.num_classes,
        stem=Stem(kernel=3, stride=there.stem.stride),
        stages=(s1, s2, s3, s4),
    )


def draw_random(number: int, setup: Setup, block: Block) -> Architecture:
    """The network drawn as the `number`th, from 0."""
    space = SearchSpace.load(setup.space_file(block.data))
    region = load_region()
    rng = np.random.default_rng([_SEED, round(block.mmacs * 1000)])
    keys = dict[str, Architecture]()
    for _ in range(_MOST_DRAWS):
        genes = space.sample(rng, _DRAWS)
        macs = costs.estimate(space, genes).macs
        genes = genes[(block.low <= macs) & (macs <= block.high)]
        genes = genes[region.measure_genes(space, genes) <= region.limit]
        for row in genes:
            arch = space.decode(row[None])[0]
            keys.setdefault(arch.key, arch)
            if len(keys) > number:
                return arch
    raise ConfigError(
        f"random networks: must be in the region (got none of {block.budget}). Choose another "
        "--budgets."
    )


def search_by(evaluator: str | None, setup: Setup, block: Block) -> Architecture:
    """What a search recommends; the default evaluator where None."""
    if evaluator is not None and evaluator not in EVALUATORS:
        raise ConfigError(f"{evaluator}: there is no such evaluator yet")
    word = evaluator or next(iter(EVALUATORS))
    settings = Settings(
        space=str(setup.space_file(block.data)),
        budgets=(block.budget,),
        evaluator=EvaluatorChoice(name=word),
        n=EVALUATORS[word].default_n,
        seed=_SEED,
        verify=False,
    )
    out = setup.folder / "searches" / f"{block.label}-{evaluator or 'default'}"
    return _take_recommended(settings, out, None)


def _take_recommended(settings: Settings, out: Path, evaluator: object) -> Architecture:
    outcome = create_search(settings, out, evaluator=evaluator, go_on=True).run()  # type: ignore[arg-type]
    choice = recommend(outcome.problem, outcome.front, outcome.baselines)
    if choice is None:
        raise ConfigError(f"{out}: the search must find a network (got an empty front)")
    return choice.member.arch


class CandidateTrainings(ShortTrainEvaluator):
    """Trains candidates alone: SMT-T itself has 12 to 50 times their MACs."""

    baselines = ()  # type: ignore[assignment]


def search_by_training(setup: Setup, block: Block) -> Architecture:
    """What a search recommends that trains its candidates briefly, by the recipe of the proof."""
    effort = setup.effort
    config = validated(
        ShortTraining,
        {
            "data": setup.spec(block.data),
            "epochs": effort.epochs,
            "recipe": str(setup.recipe),
            "changes": setup.recipe_changes(block.data, effort.epochs, effort.images, "fp32"),
            "device": setup.device,
        },
        "short-train",
    )
    settings = Settings(
        space=str(setup.space_file(block.data)),
        budgets=(block.budget,),
        n=effort.networks,
        seed=_SEED,
        verify=False,
    )
    out = setup.folder / "searches" / f"{block.label}-short-train"
    return _take_recommended(settings, out, CandidateTrainings(config, workers=1))


def read_search_cost(setup: Setup, block: Block) -> tuple[int, float]:
    """Epochs and seconds of all trainings of the search by short trainings."""
    folder = setup.folder / "searches" / f"{block.label}-short-train" / "trainings"
    epochs = [row for path in sorted(folder.glob("*")) for row in read_metrics(path)]
    return len(epochs), sum(row.seconds or 0.0 for row in epochs)


def read_before(setup: Setup, block: Block) -> Architecture:
    """What the build before recommended: by its own search where its checkout is given."""
    if setup.before is not None:
        return _search_before(setup.before, setup, block)
    kept = read_yaml(BEFORE) if BEFORE.is_file() else {}
    values = kept.get("picks", {}).get(block.label)
    if values is None:
        raise ConfigError(
            f"before: no pick of {kept.get('commit', 'that build')} is kept for {block.label}. Add "
            "--before CHECKOUT"
        )
    return validated(Architecture, values, f"{BEFORE.name}, {block.label}")


def _search_before(checkout: Path, setup: Setup, block: Block) -> Architecture:
    out = (setup.folder / "searches" / f"{block.label}-before").resolve()
    space = setup.space_file(block.data).resolve()
    command = ["-m", "smt_nas", "search", "--space", str(space), "--budget", block.budget]
    options = ["--seed", str(_SEED), "--no-verify", "--json", "--out", str(out)]
    place = str(checkout.resolve())
    done = subprocess.run(
        [sys.executable, *command, *options],
        cwd=place,
        env={**os.environ, "PYTHONPATH": place},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ConfigError(f"before: its search must end (got {last})")
    name = json.loads(done.stdout)["recommended"]
    return load_arch(out / "front" / f"{name}.yaml")


CANDIDATES: dict[str, Callable[[Setup, Block], Architecture]] = {
    **{name: partial(scale_published, name) for name in REFERENCES},
    "default": partial(search_by, None),
    "predictor": partial(search_by, "predictor"),
    "supernet": partial(search_by, "supernet"),
    **{f"random-{i + 1}": partial(draw_random, i) for i in range(3)},
    "before": read_before,
    "short-train": search_by_training,
}
"""In the order in which they are trained."""
