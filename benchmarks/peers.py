"""SMT-T beside what a user would pick instead at about the same cost, each in its fastest form.

    python -m benchmarks.peers [--rounds 10]

Networks of timm, with random weights: convnext_nano, poolformerv2_s12, efficientformer_l1 and
swin_tiny. Forms take turns as in `deploy`, on one thread. As the networks differ in size, what is
compared is CPU milliseconds a GMAC of the fastest form, in fp32 and with bf16 allowed. Files are
kept in benchmarks/.cache/deploy; figures of a run that was cut off are not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import torch

from benchmarks.deploy import CACHE, Worker, describe_machine, make_artefacts
from benchmarks.deploy_artefacts import SIZE, TIMM, build_any
from benchmarks.deploy_worker import FORMS
from smt_nas.models.trace import trace

PEERS = ("convnext_nano", "poolformerv2_s12", "efficientformer_l1", "swin_tiny_patch4_window7_224")
OURS = {"fp32": ("packed", "ort", "ov"), "bf16": ("fused_bf16", "ov_bf16")}
THEIRS = {"fp32": ("ours", "ort_ours", "ov_ours"), "bf16": ("ours_bf16", "ov_ours_bf16")}
WORDS = {"packed": "eager", "ours": "eager", "fused_bf16": "eager", "ours_bf16": "eager"}


def count_gmacs(network: str) -> float:
    """Multiply-accumulates of a forward, attention included, in 10^9."""
    return sum(op.macs for op in trace(build_any(network), (3, SIZE, SIZE))) / 1e9


def list_forms(network: str) -> dict[str, tuple[str, ...]]:
    """Forms of a network by precision."""
    return THEIRS if network.startswith(TIMM) else OURS


def time_networks(batch: int, networks: list[str], rounds: int) -> dict[tuple[str, str], float]:
    """Median CPU milliseconds an image of every network and form that could be loaded."""
    spent: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        workers = {}
        for network in networks:
            for form in (f for forms in list_forms(network).values() for f in forms):
                try:
                    workers[network, form] = Worker(form, CACHE / network, batch)
                    stack.callback(workers[network, form].close)
                except RuntimeError as error:
                    print(f"{network} {FORMS[form].words}: {error}", file=sys.stderr)
        for _ in range(rounds):
            for key, worker in workers.items():
                spent.setdefault(key, []).append(worker.time()[1] / batch)
    return {key: statistics.median(values) for key, values in spent.items()}


def list_rows(networks: list[str], batch: int, rounds: int) -> Iterator[str]:
    """A row a network: its fastest forms."""
    times = time_networks(batch, networks, rounds)
    for network in networks:
        gmacs, cells = count_gmacs(network), []
        allowed: list[str] = []
        for precision, forms in list_forms(network).items():
            allowed += [f for f in forms if (network, f) in times]
            if not allowed:
                cells.append(f" | {precision} not run")
                continue
            best = min(allowed, key=lambda form: times[network, form])
            words = WORDS.get(best, FORMS[best].words.partition(", ")[2])
            ms = times[network, best]
            cells.append(f" | {ms:6.1f} {ms / gmacs:6.2f} {words:18}")
        yield f"{network:36}{batch:3} {gmacs:6.2f}" + "".join(cells)


def main() -> None:
    """Make what is missing, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    args = parser.parse_args()
    torch.set_num_threads(1)
    networks = ["smt_t", *(TIMM + name for name in PEERS)]
    for network in networks:
        forms = [f for forms in list_forms(network).values() for f in forms]
        names = dict.fromkeys(FORMS[form].artefact for form in forms)
        for name, reason in make_artefacts(list(names), network, CACHE / network).items():
            print(f"{network} {name}: {reason}", file=sys.stderr)
    print(f"224 px, 1 thread. {describe_machine()}")
    title = " | " + f"{'ms':>6} {'/GMAC':>6} {{:18}}"
    columns = title.format("in fp32") + title.format("or bf16")
    print(f"{'network, batch, GMACs':46}" + columns)
    for batch in args.batch:
        for row in list_rows(networks, batch, args.rounds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
