"""`Device.predict`: the parts of a sheet add up to the whole trace; a measured table goes first."""

import numpy as np
import pytest

from smt_nas import SearchSpace
from smt_nas.conditions import Conditions
from smt_nas.devices.device import load_device
from smt_nas.space import SpaceConfig

SMALL = {  # few parts: tracing takes 10 ms each
    "image_size": 64,
    "stages": [
        {"dim": [16, 32], "depth": 1, "kernels": [[3], [3, 5]]},
        {"dim": 32, "depth": [1, 2], "attention_ratio": 0.5, "heads": 2},
        {"dim": 64, "depth": 2, "attention_ratio": [0, 0.5, 1], "heads": 4},
        {"dim": 64, "depth": 1, "attention_ratio": 1, "mlp_ratio": [1, 2], "heads": 4},
    ],
}
SPACE = SearchSpace(SpaceConfig.model_validate(SMALL), "small")
GENES = SPACE.sample(np.random.default_rng(0), 8)


@pytest.mark.parametrize(
    ("conditions", "rel"),
    [
        (Conditions(), 1e-9),
        (Conditions(batch=64, precision="amp-fp16"), 1e-9),
        (Conditions(precision="fp16", mode="graph", image_size=96), 1e-9),
        (Conditions(batch=64, precision="amp-fp16", mode="compile"), 0.03),  # merges differ
    ],
    ids=str,
)
def test_parts_of_the_sheet_add_up_to_the_whole_trace(conditions, rel):
    device = load_device("a100")
    found = device.predict(SPACE, GENES, conditions)
    whole = [device.predict_arch(arch, conditions) for arch in SPACE.decode(GENES)]
    for field in ("ms", "low", "high"):
        expected = [getattr(one, field)[0] for one in whole]
        assert getattr(found, field) == pytest.approx(expected, rel=rel)
    assert (found.basis, found.conditions) == ("sheet", conditions)


def test_a_space_is_traced_once(monkeypatch):
    device = load_device("a100")
    first = device.predict(SPACE, GENES, Conditions())
    monkeypatch.setattr("smt_nas.devices.device.find_block_table", None)  # a second call would fail
    assert np.array_equal(device.predict(SPACE, GENES, Conditions()).ms, first.ms)
