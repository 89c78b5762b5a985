"""The best of a front and SMT-T: trained once each, compared by what they cost as trained."""

from dataclasses import replace

import pytest

from smt_nas import costs
from smt_nas.arch import preset
from smt_nas.errors import TrainingError
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.front_training import train_front
from smt_nas.train.train_config import RunOptions
from smt_nas.train.training_directory import read_config
from tests.fakes.images import few_digits
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.trainings import ALONE, SHORT
from tests.fakes.weights import TINY

pytestmark = pytest.mark.usefixtures("short_screening")


STATED = TINY.model_copy(update={"num_classes": 10})


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A run directory with a front of three."""
    run = tmp_path_factory.mktemp("search")
    (run / "front").mkdir()
    wider = STATED.stages[3].model_copy(update={"mlp_ratio": 3.0})
    STATED.save(run / "front" / "0.yaml")
    STATED.model_copy(update={"stages": (*STATED.stages[:3], wider)}).save(run / "front" / "1.yaml")
    STATED.save(run / "front" / "10.yaml")
    return run


class Lines(NullProgress):
    """Keeps the lines that are said, and the warnings."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)

    def warn(self, warning):
        self.said.append(warning)


def train(search, top, listener=None, **changes):
    listener = NullProgress() if listener is None else listener
    with few_digits(30):
        request = replace(SHORT, name=str(search), changes=("batch_size=20",), **changes)
        return train_front(request, top, 1, RunOptions(), None, ALONE, listener)


def test_what_is_common_to_the_trainings_is_told_once(search, tmp_path):
    (tmp_path / "front").mkdir()
    for path in (search / "front").iterdir():
        (tmp_path / "front" / path.name).write_text(path.read_text())
    lines = Lines()
    train(tmp_path, 2, lines)
    assert [x for x in lines.said if str(x).startswith("Training ")] == [
        "Training 0, seed 0.",
        "Training 1, seed 0.",
        "Training smt_t, seed 0.",
    ]
    assert any(str(x).startswith("Recipe ") for x in lines.said)
    assert len(set(lines.said)) == len(lines.said) and {"few_updates", "few_held_out"} <= {
        getattr(x, "kind", None) for x in lines.said
    }


def test_the_best_of_a_front_and_smt_t_are_trained_once(search):
    comparison = train(search, 2)
    names = [(network.name, network.baseline) for network in comparison.networks]
    assert names == [("0", False), ("1", False), ("smt_t", True)]
    assert all(network.top1[0] is not None for network in comparison.networks)

    smt_t = comparison.networks[2]  # its costs are of the head and the size that were trained
    trained = read_config(smt_t.runs[0]).arch
    assert (trained.image_size, trained.num_classes) == (32, 10)
    cost = costs.of(trained)
    assert (smt_t.arch_key, smt_t.macs, smt_t.parameters) == (trained.key, cost.macs, cost.params)
    assert smt_t.parameters < costs.of(preset("smt_t")).params

    stamps = {
        path: path.stat().st_mtime_ns
        for network in comparison.networks
        for path in network.runs[0].glob("checkpoints/*/*")
    }
    again = train(search, 2)
    assert [n.top1 for n in again.networks] == [n.top1 for n in comparison.networks]
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_a_front_of_fewer_networks_is_told(search):
    with pytest.raises(TrainingError, match=r"its front must have 4 networks \(got 3\)"):
        train(search, 4)
