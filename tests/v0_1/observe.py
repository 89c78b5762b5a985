"""What the tool says of things that must stay: `make` wrote it down at 0.1, tests ask again.

Modules inside the package are named here alone, so that a move of them is one edit. What is
returned is plain JSON.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import typer
from typer.testing import CliRunner

import smt_nas
from smt_nas import costs
from smt_nas.arch import SMALL_PRESETS
from smt_nas.cli.app import app
from smt_nas.conditions import Conditions
from smt_nas.devices.device import load_device
from smt_nas.devices.registry import load_sheet, sheet_names
from smt_nas.devices.tables.measured_table import find_table, load_table
from smt_nas.evaluators import make_evaluator
from smt_nas.evaluators.predictors.training_set import TrainingSet, split_folds
from smt_nas.evaluators.relative_score import RelativeScore
from smt_nas.nasbench.build import labels_digest
from smt_nas.nasbench.plan import plan_networks
from smt_nas.nasbench.table import load_bench
from smt_nas.profilers.calibration.calibrate import _header as calibration_header
from smt_nas.profilers.calibration.calibrate import run as carry_out
from smt_nas.profilers.calibration.schedule import Plan
from smt_nas.search import Settings, create_search
from smt_nas.search.run_directory import RunDirectory
from smt_nas.space import SpaceConfig
from smt_nas.space.editions import FIRST_SMT, find_edition
from smt_nas.train.data.sources import load_source
from smt_nas.train.processes.randomness import make_generator, seed_cpu
from smt_nas.train.weights.weights import read_weights
from smt_nas.yaml import to_yaml

SPACES = {  # as they were at 0.1; smt has grown since
    "smt": find_edition("smt", FIRST_SMT),
    "smt_micro": smt_nas.SearchSpace.load("smt_micro"),
}
SHEETS_SINCE = {
    "epyc_7763",
    "epyc_9654",
    "mi300x",
    "orin_agx32",
    "orin_nano_8gb",
    "orin_nano_super",
    "orin_nx_16gb",
    "orin_nx_8gb",
    "rtx3060",
    "rtx4060",
    "rtx4070",
    "rtx5070",
    "rtx5080",
    "rtx6000_ada",
    "rtx_a6000",
    "ryzen_7950x",
    "ryzen_9950x",
    "xeon_8490h",
}  # of 0.1
PRESETS = smt_nas.PRESETS | SMALL_PRESETS


def sampled(space, n, seed=1):
    """Networks of a shipped space, always the same: (n, G)."""
    return space.sample(np.random.default_rng(seed), n)


def keys():
    """Keys of the presets and of 200 networks of each space, with their genes' digest."""
    found = {"presets": {name: arch.key for name, arch in PRESETS.items()}}
    for name in SPACES:
        space = SPACES[name]
        genes = sampled(space, 200)
        found[name] = {
            "space": space.digest,
            "size": space.size,
            "genes": genes.tolist()[:5],
            "genes_sha256": sha256(genes.astype("<i8").tobytes()),
            "keys": [arch.key for arch in space.decode(genes)],
        }
    return found


def count():
    """Costs of the presets and of 50 networks of each space."""
    found = {"presets": {name: costs.of(arch).as_dict() for name, arch in PRESETS.items()}}
    for name in SPACES:
        space = SPACES[name]
        genes = sampled(space, 50)
        each = [costs.of(arch).as_dict() for arch in space.decode(genes)]
        at_once = {k: v.tolist() for k, v in costs.estimate(space, genes).as_dict().items()}
        found[name] = {k: [row[k] for row in each] for k in each[0]}
        assert found[name] == at_once
    return found


def digests():
    """Hashes that files hold: of tables, benches, data, calibrations, and streams of numbers."""
    micro = smt_nas.SearchSpace.load("smt_micro")
    tables = {}
    for name in SPACES:
        table = find_table("epyc_zen3_2cpu", SPACES[name])
        tables[name] = {"csv": table.evidence.table, "space": table.evidence.space_digest}
    bench = load_bench("smt-bench-mini")
    first = plan_networks(micro, 30, 5e6, 40e6, 0)
    sheet = load_sheet("epyc_zen3_2cpu")
    header = calibration_header(Plan.of(micro, (Conditions(threads=1),), 8, 0), sheet)
    header["torch"] = "2"
    return {
        "tables": tables,
        "bench": {
            "space": bench.card.space_digest,
            "keys_sha256": sha256("\n".join(bench.networks).encode()),
            "noise": TrainingSet.of(bench).noise,
            "folds_sha256": sha256(
                np.array(split_folds(TrainingSet.of(bench).groups, 0)).tobytes()
            ),
        },
        "bench_plan": [[p.arch.key, p.group, list(p.seeds)] for p in first],
        "digits": labels_digest(load_source("digits")),
        "calibration_header": header,
        "sheets": sorted(set(sheet_names()) - SHEETS_SINCE),
        "seeds": [seed_cpu(0, 1, 2), seed_cpu(3, 4), int(make_generator(0, 3).initial_seed())],
        "first_weights_sha256": sha256_of(
            smt_nas.build("smt_micro", generator=make_generator(0, 3)).state_dict()
        ),
    }


def rate():
    """What the evaluators say of 50 networks of each space, and zero-cost of three."""
    found = {}
    for name in SPACES:
        space = SPACES[name]
        genes = sampled(space, 50)
        for evaluator in ("capacity", "predictor", "joint"):
            if (evaluator, name) == ("joint", "smt"):  # rests on other evidence since
                continue
            rater = make_evaluator(evaluator)
            several = rater.evaluate(space.decode(genes[:5]))
            found[f"{evaluator} {name}"] = {
                "figures": rater.predict(space, genes).mean.tolist(),
                "values": [e.value for e in several],
                "details": [_details(e) for e in several],
            }
    space = smt_nas.SearchSpace.load("smt_micro")
    three = make_evaluator("zero-cost").evaluate(space.decode(sampled(space, 3)))
    found["zero-cost smt_micro"] = {
        "values": [e.value for e in three],
        "details": [_details(e) for e in three],
    }
    return found


def _details(evaluation):
    """What stood beside a value, under the names of 0.1."""
    ends = dict(zip(("low", "high"), evaluation.interval or (), strict=False))
    return evaluation.to_columns() | ends


LATENCIES = (  # device, space, conditions
    ("epyc_zen3_2cpu", "smt", {"threads": 1}),
    ("epyc_zen3_2cpu", "smt_micro", {"threads": 1}),
    ("a100_80_sxm", "smt_micro", {"precision": "fp16"}),
)
OF_ONE = (  # the same of `smt_micro`, the preset
    ("h100_sxm", {"precision": "amp-bf16", "batch": 64, "mode": "graph"}),
    ("rtx4090", {"precision": "tf32", "batch": 8, "mode": "compile"}),
    ("h200_sxm", {"precision": "bf16", "channels_last": True}),
    ("v100_sxm2", {"precision": "amp-fp16", "image_size": 64}),
    ("epyc_zen3_2cpu", {"threads": 1}),
)


def predict():
    """Latencies of 50 networks by table and by sheet, and of one under other conditions."""
    found = {}
    for device, name, how in LATENCIES:
        space, conditions = SPACES[name], Conditions(**how)
        latency = load_device(device).predict(space, sampled(space, 50), conditions)
        found[f"{device} {name} {conditions}"] = _latency(latency)
    for device, how in OF_ONE:
        conditions = Conditions(**how)
        latency = load_device(device).predict_arch(PRESETS["smt_micro"], conditions)
        found[f"{device} preset {conditions}"] = _latency(latency)
    return found


def predict_by(table, space):
    """Latencies of 50 networks by a table that was written by `calibrate`."""
    found = load_table(table, space).block_table(Conditions(threads=1))
    return _latency(found.predict(sampled(space, 50)))


def predict_on(device, space):
    """The same on a device by its name, by whatever it has of the space."""
    return _latency(load_device(device).predict(space, sampled(space, 50), Conditions(threads=1)))


def _latency(latency):
    columns = {name: getattr(latency, name).tolist() for name in ("ms", "low", "high")}
    return columns | {"basis": latency.basis}


COSTS_ONLY = ("top1_pct", "macs", "params")
SCORED = ("score", *COSTS_ONLY[1:])
"""Small images have a score since, where 0.1 told points of a top-1 that meant nothing there."""
FRONTS = {
    "random capacity": {
        "space": "smt_micro",
        "budgets": ("20MMACs",),
        "objectives": SCORED,
        "strategy": "random",
        "evaluator": "capacity",
        "n": 24,
    },
    "nsga2 joint": {
        "space": "smt_micro",
        "budgets": ("20MMACs", "0.5Mparams"),
        "objectives": SCORED,
        "n": 34,
        "seed": 3,
    },
    "latency by a table": {
        "budgets": ("0.5..6GMACs", "6img/s@epyc_zen3_2cpu"),
        "objectives": ("score", "latency_ms", "throughput_ips"),
        "device": "epyc_zen3_2cpu",
        "strategy": "random",
        "evaluator": "predictor",
        "region": "none",  # as there was none
        "n": 24,
        "seed": 1,
    },
    "no evaluator": {
        "space": "smt_micro",
        "budgets": ("0.5*smt_t",),
        "objectives": ("macs", "peak_memory_mb"),
        "strategy": "random",
        "evaluator": None,
        "n": 33,
    },
}


def search(name, folder):
    """The front of a search of FRONTS, and what its trials are said to depend on."""
    settings = FRONTS[name]
    if "space" not in settings:
        file = folder.parent / "smt.yaml"
        file.write_text(to_yaml(SPACES["smt"].config.model_dump(mode="json")))
        settings = settings | {"space": str(file)}
    begun = create_search(Settings(**settings, prove=False), folder)
    outcome, identity = begun.run(), as_json(begun.directory.identity)
    if isinstance(begun.evaluator, RelativeScore):
        identity["objectives"] = list(COSTS_ONLY)
    return {
        "identity": identity,
        "tried": sha256("\n".join(t.key for t in outcome.trials).encode()),
        "front": [_member(r, begun.evaluator) for r in outcome.front],
        "baselines": [_member(r, begun.evaluator) for r in outcome.baselines],
    }


def _member(result, evaluator):
    values = dict(result.values)
    intervals = {k: list(v) for k, v in result.intervals.items()}
    if isinstance(evaluator, RelativeScore):
        values["top1_pct"] = _to_points(evaluator, values.pop("score"))
        intervals["top1_pct"] = [_to_points(evaluator, end) for end in intervals.pop("score")]
    return {
        "name": result.name,
        "key": result.arch.key,
        "values": values,
        "intervals": intervals,
    }


def _to_points(evaluator, score):
    """The points that 0.1 told in a score's place."""
    [zero] = evaluator.top1.evaluate([evaluator.reference])
    return zero.value + score * evaluator.spread


def identity(run):
    """What the trials of a run directory depend on."""
    return as_json(RunDirectory.open(run).identity)


def calibrate(space, sheet, bench, out, visits=4):
    """Carry out a calibration on any bench; the path of its table."""
    one = (Conditions(threads=1),)
    return carry_out(Plan.of(space, one, visits, 0), sheet, bench, 60, out).path


def space_of(config, name):
    """A space from plain values."""
    return smt_nas.SearchSpace(SpaceConfig.model_validate(config), name)


def weights(path):
    """Weights in a file: a hash of their bits, and sums that other processors agree on."""
    state = read_weights(path).state
    return {"sha256": sha256_of(state), "sums": {k: _sums(v) for k, v in sorted(state.items())}}


def _sums(tensor):
    values = tensor.double()
    return [float(values.sum()), float((values**2).sum())]


def words():
    """Every command with its arguments and options, as a user types them."""
    found = {}

    def visit(path, command):
        params = [_param(p) for p in command.params if p.name != "help"]
        found[path] = sorted(params, key=lambda p: (p["kind"], p["words"]))
        for name, inner in getattr(command, "commands", {}).items():
            visit(f"{path} {name}", inner)

    visit("smt-nas", typer.main.get_command(app))
    return found


def _param(param):
    option = param.param_type_name == "option"
    return {
        "kind": param.param_type_name,
        "words": sorted([*param.opts, *param.secondary_opts]) if option else [param.name],
        "flag": bool(getattr(param, "is_flag", False)),
        "several": bool(param.multiple) if option else param.nargs != 1,
        "required": bool(param.required),
    }


def sha256(content):
    """Hex digits of bytes."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(state):
    """Hex digits of tensors by name: names, shapes and bits."""
    whole = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        whole.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def as_json(value):
    """The value as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value))


def invoke(*told, code=0):
    """Run a command in this process; its stdout, once it ended with the code expected."""
    result = CliRunner().invoke(app, [str(word) for word in told])
    assert result.exit_code == code, result.output
    return result.stdout


def machine():
    """What the last bits of a training depend on."""
    lines = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    names = ("vendor_id", "cpu family", "model", "model name")
    cells = [line.partition(":") for line in lines]
    found = {key.strip(): value.strip() for key, _, value in cells if key.strip() in names}
    found |= {"capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}
    return dict(sorted(found.items()))
