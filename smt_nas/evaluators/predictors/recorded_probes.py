"""What `joint` predicts of the probe networks for small images, computed beforehand.

Its fingerprint is of that, and a search for ImageNet's images needs nothing else of the process
that is fitted to the bench: two seconds of a short search. So the figures ship with the digest of
all that they follow from: the bench, the features and the level of the probes, the code that fits
and predicts, and the libraries. Where any of these is another, nothing is recorded, and the figures
are computed. `python -m tools.joint_probes` writes the file.
"""

from __future__ import annotations

import json
from hashlib import sha256
from importlib import import_module, metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smt_nas.evaluators import capacity
from smt_nas.evaluators.base import Estimate
from smt_nas.evaluators.evaluator_fingerprint import probe_networks
from smt_nas.evaluators.predictors import features
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.files import shipped

FILE = shipped("reference") / "joint_probes.json"
SPACE = "smt_micro"
_DIGITS = 10  # of figures in the digest; processors differ in the 14th
_CODE = (
    "smt_nas.evaluators.joint",
    "smt_nas.evaluators.predictors.bench_topology",
    "smt_nas.evaluators.predictors.features",
    "smt_nas.evaluators.predictors.gaussian_process",
    "smt_nas.evaluators.predictors.predictor",
    "smt_nas.evaluators.predictors.reference",
    "smt_nas.evaluators.predictors.training_set",
    "smt_nas.nasbench.table",
)
_LIBRARIES = ("numpy", "scikit-learn", "scipy")


def read_recorded() -> Estimate | None:
    """What is predicted of the probe networks of SPACE; None where that may be other figures."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    if content["digest"] != digest_inputs():
        return None
    return Estimate(np.array(content["mean"]), np.array(content["std"]))


def digest_inputs() -> str:
    """Of all that the figures follow from."""
    space, genes = next(pair for pair in probe_networks() if pair[0].name == SPACE)
    level = capacity.of_genes(space, genes)
    texts = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    columns = (level.top1_pct, level.low, level.high, np.array([capacity.spread()]))
    texts += [_round(column) for column in (*features.of_genes(space, genes).T, *columns)]
    files = [shipped("nasbench") / f"{BENCH}{end}" for end in (".csv", ".yaml")]
    files += [Path(str(import_module(name).__file__)) for name in _CODE]
    whole = sha256(" ".join(texts).encode())
    for file in files:
        whole.update(file.read_bytes())
    return whole.hexdigest()


def _round(column: NDArray[np.float64]) -> str:
    scale = float(np.abs(column).max()) or 1.0
    shares = np.round(column / scale, _DIGITS) + 0.0  # no -0
    return " ".join([f"{scale:.{_DIGITS}g}", *(f"{share:.{_DIGITS}f}" for share in shares)])
