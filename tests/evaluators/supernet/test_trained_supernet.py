"""A trained supernet rates networks: calibrated, the same in any order, and hands them out."""

import json
import shutil

import pytest
import torch

from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators.supernet import load_supernet
from smt_nas.evaluators.supernet.coverage import Coverage
from smt_nas.evaluators.supernet.supernet_card import METADATA, parse_supernet_card
from smt_nas.models import SMT
from smt_nas.train.weights.checkpoint import save_weights
from smt_nas.train.weights.weights import read_weights
from tests.fakes.supernets import (
    draw_archs,
    load_few_digits,
    make_small_space,
    train,
    write_space,
)

SPACE = make_small_space()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("supernets") / "run"
    train(folder)
    return folder


@pytest.fixture
def supernet(folder):
    return load_supernet(folder, "cpu", load_few_digits())


def test_an_extracted_network_is_the_one_that_was_rated(supernet, tmp_path):
    (arch,) = draw_archs(SPACE, 1)
    (rated,) = supernet.evaluate([arch])
    network = supernet.extract(arch)
    assert supernet.score(network).loss == rated.loss
    save_weights(tmp_path / "a.safetensors", supernet.make_card(arch, rated), network.state_dict())
    stored = read_weights(tmp_path / "a.safetensors")
    plain = SMT(stored.card.arch).eval()
    plain.load_state_dict(stored.state)
    assert supernet.score(plain).loss == rated.loss
    assert stored.card.inherited == supernet.digest  # it was not trained alone, and says so
    assert stored.card.validation == {"top1": rated.top1, "loss": rated.loss}


def test_calibration_is_of_the_network_s_own_features(supernet):
    (arch,) = draw_archs(SPACE, 1)
    images = supernet.open_calibration_images(64)
    calibrated = supernet.extract_calibrated(arch, images).state_dict()
    again = supernet.extract_calibrated(arch, images).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in calibrated.items())
    ((pixels, _),) = images.load_batches()
    maps = supernet.store.extract(supernet.spec.adapt(arch)).stages[0].embed.conv1(pixels)
    name = "stages.0.embed.bn.running_"
    torch.testing.assert_close(calibrated[name + "mean"], maps.mean((0, 2, 3)))
    variance = maps.transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(calibrated[name + "var"], variance, rtol=1e-4, atol=0)


def test_networks_with_rare_choices_are_refused(supernet):
    (arch,) = draw_archs(SPACE, 1)
    supernet.check(arch)
    counts = supernet.coverage.counts | {f"stem kernel {arch.stem.kernel}": 0}
    supernet.coverage = Coverage(supernet.coverage.steps, counts)
    with pytest.raises(ConfigError, match=r"stem kernel . must have been trained in 1% of the st"):
        supernet.check(arch)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("mlp_ratio", 0.5, "stage1 hidden width must be one of 8"),
        ("expand_ratio", 3, r"stage1\.expand_ratio must be at most 2"),
    ],
)
def test_networks_of_another_space_are_refused(supernet, field, value, told):
    """Also such as would fit into the store."""
    (arch,) = draw_archs(SPACE, 1)
    first = arch.stages[0].model_copy(update={field: value})
    other = arch.model_copy(update={"stages": (first, *arch.stages[1:])})
    with pytest.raises(ConfigError, match=told):
        supernet.check(other)


def test_a_space_that_was_changed_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    write_space(tmp_path / "run" / "space.yaml", make_small_space(num_classes=7))
    with pytest.raises(StoreError, match=r"space\.yaml: must be the space that was trained"):
        load_supernet(tmp_path / "run")


def test_networks_outside_its_range_of_macs_are_refused(supernet):
    (arch,) = draw_archs(SPACE, 1)
    supernet.card = supernet.card.model_copy(update={"macs": (1e3, 2e3)})
    with pytest.raises(ConfigError, match=r"must have 0\.001 to 0\.002 MMACs"):
        supernet.check(arch)


def test_other_data_are_refused(folder):
    supernet = load_supernet(folder, "cpu", load_few_digits(9))
    with pytest.raises(StoreError, match="must hold the images that it was trained on"):
        supernet.evaluate(draw_archs(SPACE, 1))


def test_data_that_are_gone_are_one_line(supernet):
    supernet.card = supernet.card.model_copy(update={"data": "gone"})
    supernet._source = None
    with pytest.raises(StoreError, match=r"gone, the images that .* must be there \(got: No data"):
        supernet.evaluate(draw_archs(SPACE, 1))


def test_the_digest_is_of_weights_and_data(folder, supernet, tmp_path):
    assert load_supernet(folder, "cpu").digest == supernet.digest
    train(tmp_path / "other", seed=1, steps=1)
    train(tmp_path / "own", steps=1)
    own, other = (load_supernet(tmp_path / name, "cpu").digest for name in ("own", "other"))
    assert len({supernet.digest, own, other}) == 3  # other steps, another seed


def test_a_folder_without_a_supernet_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"holds no supernet \(no supernet\.yaml\)"):
        load_supernet(tmp_path)


def test_a_damaged_file_is_refused_and_written_again_by_its_training(tmp_path):
    train(tmp_path / "run", steps=1)
    digest = load_supernet(tmp_path / "run", "cpu").digest
    file = tmp_path / "run" / "supernet.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(StoreError, match="must be a whole safetensors file"):
        load_supernet(tmp_path / "run")
    train(tmp_path / "run", steps=1)
    assert load_supernet(tmp_path / "run", "cpu").digest == digest


@pytest.mark.parametrize("content", [b"step,loss_big\nmany,1\n", b"step\n1\n", b"\xff\xfe"])
def test_damaged_losses_are_one_line(supernet, tmp_path, content):
    supernet.folder = tmp_path
    (tmp_path / "losses.csv").write_bytes(content)
    with pytest.raises(StoreError, match=r"losses\.csv: must hold the losses of a training"):
        _ = supernet.losses


@pytest.mark.parametrize("values", [{}, {"steps": "x", "counts": {}}, {"steps": 1, "counts": [2]}])
def test_a_card_with_a_damaged_coverage_is_refused(supernet, values):
    card = {METADATA: json.dumps(supernet.card.model_dump(mode="json") | {"coverage": values})}
    with pytest.raises(StoreError, match=r"coverage.* must hold steps and counts"):
        parse_supernet_card(card, supernet.folder)
