"""A comparison's costs are of the networks as they were trained."""

from dataclasses import replace

from smt_nas import costs
from smt_nas.arch import PRESETS
from smt_nas.train.top import _entrant, _Member
from tests.cli.test_training_reports import FINISHED


def test_costs_are_of_the_head_and_the_size_that_were_trained():
    stated = PRESETS["smt_t"]
    trained = stated.model_copy(update={"num_classes": 10, "image_size": 160})
    entrant = _entrant(
        _Member("smt_t", "smt_t", stated), [replace(FINISHED, arch=trained, best=None)]
    )
    found = costs.of(trained)
    assert (entrant.arch_key, entrant.macs, entrant.parameters) == (
        trained.key,
        found.macs,
        found.params,
    )
    assert found.params < costs.of(stated).params and found.macs < costs.of(stated).macs
