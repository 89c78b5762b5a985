"""Compute what `joint` predicts of the probe networks for small images.

    python -m tools.joint_probes

Writes smt_nas/data/reference/joint_probes.json. Run it again when a test says that what these
figures follow from has changed; until then each search computes them.
"""

from __future__ import annotations

import json

from threadpoolctl import threadpool_limits

from smt_nas.evaluators.evaluator_fingerprint import probe_networks
from smt_nas.evaluators.joint import JointEvaluator
from smt_nas.evaluators.predictors.recorded_probes import FILE, SPACE, digest_inputs


def main() -> None:
    """Predict, and write the file."""
    space, genes = next(pair for pair in probe_networks() if pair[0].name == SPACE)
    with threadpool_limits(1):
        estimate = JointEvaluator().predict(space, genes)
    assert estimate.std is not None
    content = {
        "digest": digest_inputs(),
        "mean": estimate.mean.tolist(),
        "std": estimate.std.tolist(),
    }
    FILE.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")
    print(f"{FILE.name}: {len(genes)} networks of {SPACE}")


if __name__ == "__main__":
    main()
