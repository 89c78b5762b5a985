"""Benches made up on the spot: networks of smt_micro whose top-1 follows a rule."""

import numpy as np

from smt_nas import costs
from smt_nas.nasbench.encoding import Input
from smt_nas.nasbench.plan import plan_networks
from smt_nas.nasbench.rows import BenchRow, format_csv
from smt_nas.nasbench.store import prepare_table
from smt_nas.nasbench.table import TABLE, Bench, BenchCard
from smt_nas.space import SearchSpace

MICRO = SearchSpace.load("smt_micro")
CARD = BenchCard(
    schema_version=1,
    description="made up",
    space="smt_micro",
    space_digest=MICRO.digest,
    input=Input(image_size=32, num_classes=10, in_channels=3, stem_stride=2),
    data="digits",
    licence="none",
    recipe_name="bench",
    recipe={"epochs": 1, "images": 100},
    plan={"low_macs": 5e6, "high_macs": 40e6, "seed": 0},
)


def by_size_and_kernels(arch):
    """Share of images: grows with log params, and by a point for each stage of many kernels."""
    found = costs.of(arch)
    many = sum(len(s.kernels) > 2 for s in arch.stages if "sam" in s.mixers)
    return 0.70 + 0.03 * np.log(found.params / 1e5) + 0.01 * many


def rows(n, rule=by_size_and_kernels, noise=0.002, seed=0, seeds=1):
    rng = np.random.default_rng(seed)
    archs = {a.key: a for a in MICRO.decode(MICRO.sample(rng, 2 * n))}
    made = []
    for i, arch in enumerate(list(archs.values())[:n]):
        for s in range(seeds if i % 5 == 0 else 1):
            top1 = float(rule(arch) + noise * rng.standard_normal())
            figures = {"val_top1": top1, "val_loss": 1 - top1, "test_top1": top1, "seconds": 1.0}
            made.append(BenchRow(arch, f"band:{i % 6}", s, figures, "a CPU", "smt-nas 0"))
    return made


def planned(n, rule=by_size_and_kernels, noise=0.002):
    """A bench of the networks that a build would train, ablations among them."""
    rng = np.random.default_rng(0)
    made = []
    for p in plan_networks(MICRO, n, 5e6, 40e6):
        for s in p.seeds:
            top1 = float(rule(p.arch) + noise * rng.standard_normal())
            figures = {"val_top1": top1, "val_loss": 1 - top1, "test_top1": top1, "seconds": 1.0}
            made.append(BenchRow(p.arch, p.group, s, figures, "a CPU", "smt-nas 0"))
    return Bench("planned", CARD, tuple(made))


def bench(n=120, **how):
    return Bench("made-up", CARD, tuple(rows(n, **how)))


def written(folder, made, card=CARD):
    """A bench's files, as `bench build` leaves them."""
    folder.mkdir(exist_ok=True)
    table = folder / TABLE
    prepare_table(table, card)
    table.write_text(format_csv(made), encoding="utf-8")
    return table
