"""A trained supernet as an evaluator: of searches and validations, in workers, moved, retrained."""

import dataclasses
import math
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from smt_nas.arch import load_arch
from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators import Evaluation, EvaluatorChoice, choose_evaluator, make_evaluator
from smt_nas.evaluators.configs import TrainedSupernet
from smt_nas.evaluators.supernet import inherited_weights, load_supernet
from smt_nas.evaluators.supernet.inherited_weights import take_network, write_inherited_weights
from smt_nas.evaluators.supernet.supernet_evaluator import (
    SupernetEvaluator,
    find_scope,
    holds_space,
)
from smt_nas.evaluators.validation.validate import validate
from smt_nas.export import load_export_source
from smt_nas.nasbench.encoding import Input
from smt_nas.nasbench.rows import BenchRow
from smt_nas.nasbench.table import Bench, load_bench
from smt_nas.report.evidence import describe_evidence
from smt_nas.report.search.front import collect_notes, front_table
from smt_nas.report.supernet import info_notes
from smt_nas.report.validation import data_notes, validation_notes
from smt_nas.search import Settings, create_search, resume_search
from smt_nas.space import SearchSpace
from smt_nas.space.space_config import SpaceConfig
from smt_nas.train.data.sources import load_source
from smt_nas.train.weights.tensors import read_tensors
from smt_nas.train.weights.weights import read_weights
from smt_nas.yaml import read_yaml, to_yaml
from tests.fakes.benches import CARD, by_size_and_kernels, written
from tests.fakes.supernets import draw_archs, draw_images, make_small_space, train

SPACE = make_small_space()


def _make(folder):
    return SupernetEvaluator(TrainedSupernet(run=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def evaluator(supernet_folder):
    return _make(supernet_folder)


@pytest.fixture(scope="module")
def searched(supernet_folder, tmp_path_factory):
    """A supernet of its own, and a search by it."""
    home = tmp_path_factory.mktemp("searched")
    folder, run = home / "supernet", home / "run"
    shutil.copytree(supernet_folder, folder)
    settings = Settings(
        space=str(folder / "space.yaml"),
        evaluator=choose_evaluator(f"supernet:{folder}"),
        objectives=("inherited_loss", "macs"),
        device="epyc_zen3_2cpu",
        strategy="random",
        n=3,
        verify=False,
    )
    return folder, run, create_search(settings, run, workers=1).run()


def test_it_says_the_loss_and_the_accuracy_of_the_supernet(evaluator, supernet_folder):
    (arch,) = draw_archs(SPACE, 1)
    (evaluation,) = evaluator.evaluate([arch])
    (score,) = load_supernet(supernet_folder, "cpu").evaluate([arch])
    assert (evaluation.value, evaluation.provenance) == (score.loss, "inherited")
    assert evaluation.components["inherited_top1"] == score.top1
    assert evaluator.objective.direction == "min"


def test_a_search_by_it_ends_in_networks_of_its_space(searched):
    folder, _, outcome = searched
    assert [t.evaluation.failure for t in outcome.trials] == [None] * 3
    assert outcome.front[0].provenance["inherited_loss"] == "inherited"
    assert outcome.evidence.evaluator == f"supernet:{folder}"
    headings = [str(c.header) for c in front_table(outcome, True).renderables[1].columns]
    assert "top-1 %\ninherited" in headings
    best = outcome.front[0]
    (alone,) = _make(folder).evaluate([best.arch])
    assert best.values["inherited_loss"] == alone.value


def test_a_handed_out_network_is_the_one_that_was_rated(searched):
    folder, run, outcome = searched
    config = run / "front" / "0.yaml"
    source = load_export_source(str(config), "inherited")
    network = load_supernet(folder, "cpu").extract(outcome.front[0].arch)
    images = draw_images(4)
    with torch.no_grad():
        assert torch.equal(source.model(images), network(images))
    top1 = outcome.front[0].evaluation.components["inherited_top1"]
    assert source.weights.card.validation["top1"] == top1
    assert source.weights.describe() == "inherited from supernet supernet"


def test_its_weights_start_a_training(searched):
    folder, run, _ = searched
    arch = load_arch(str(run / "front" / "0.yaml"))
    taken = write_inherited_weights(arch, f"supernet:{folder}", "cpu")
    network, _ = take_network(load_supernet(folder, "cpu"), arch)
    state = read_weights(taken.file).state
    assert all(torch.equal(state[name], v.float()) for name, v in network.state_dict().items())
    assert write_inherited_weights(arch, f"supernet:{folder}", "cpu").file == taken.file


def test_a_supernet_that_moved_is_one_line_and_may_be_named_anew(searched, tmp_path):
    folder, run, _ = searched
    shutil.copytree(run, tmp_path / "run")
    file, moved = tmp_path / "run" / "run.yaml", tmp_path / "moved"
    values = read_yaml(file)
    values["settings"]["evaluator"]["config"]["run"] = str(moved)
    file.write_text(to_yaml(values))
    with pytest.raises(StoreError, match=r"got no such folder.*run\.yaml says"):
        resume_search(tmp_path / "run")
    config = str(tmp_path / "run" / "front" / "0.yaml")
    with pytest.raises(StoreError, match="say where it is now with --supernet"):
        load_export_source(config, "inherited")
    shutil.copytree(folder, moved)
    assert len(resume_search(tmp_path / "run", n=3).run().trials) == 3
    assert load_export_source(config, "inherited", str(folder)).state is not None


def test_a_supernet_trained_anew_is_another_evaluator(searched, tmp_path):
    folder, run, _ = searched
    assert _make(folder).fingerprint == _make(folder).fingerprint
    shutil.copytree(run, tmp_path / "run")
    train(tmp_path / "other", source=load_source("digits"), steps=2, seed=1)
    values = read_yaml(tmp_path / "run" / "run.yaml")
    values["settings"]["evaluator"]["config"]["run"] = str(tmp_path / "other")
    (tmp_path / "run" / "run.yaml").write_text(to_yaml(values))
    with pytest.raises(StoreError, match="has changed since"):
        resume_search(tmp_path / "run")
    with pytest.raises(StoreError, match="another, trained since"):
        load_export_source(str(tmp_path / "run" / "front" / "0.yaml"), "inherited")


def test_what_was_hardly_trained_is_not_rated(supernet_folder):
    evaluator = _make(supernet_folder)
    archs = draw_archs(SPACE, 12)
    counts = evaluator.supernet.coverage.counts
    counts["stage4 block 1 msa"] = 0
    kinds = [arch.stages[3].mixers[0] for arch in archs]
    rare, other = archs[kinds.index("msa")], archs[kinds.index("sam")]
    refused, rated = evaluator.evaluate([rare, other])
    assert refused.value is None and "stage4 block 1 msa must have been trained in 1%" in (
        refused.failure
    )
    assert rated.failure is None
    assert evaluator.evidence.rare == ("stage4 block 1 msa",)
    assert not evaluator.holds(rare) and evaluator.holds(other)


def test_what_was_thinly_trained_is_rated_with_a_wider_interval(supernet_folder, searched):
    evaluator, outcome = _make(supernet_folder), searched[2]
    arch = next(a for a in draw_archs(SPACE, 12) if a.stages[3].mixers[0] == "msa")
    (usual,) = evaluator.evaluate([arch])
    low, high = usual.interval
    assert usual.components["interval_factor"] == 1.0 and low < usual.value < high
    counts = evaluator.supernet.coverage.counts
    evaluator.supernet.coverage.steps = 400
    counts.update(dict.fromkeys(counts, 400) | {"stage4 block 1 msa": 5})
    (thin,) = evaluator.evaluate([arch])
    assert (thin.components["coverage"], thin.components["interval_factor"]) == (0.0125, 2.0)
    assert thin.interval == pytest.approx((2 * low - usual.value, 2 * high - usual.value))
    assert "those with stage4 block 1 msa have wider intervals" in describe_evidence(
        evaluator.evidence
    )
    assert any("less than 5 %" in line.lower() for line in info_notes(evaluator.supernet))
    first = dataclasses.replace(outcome.front[0], evaluation=thin)
    notes = collect_notes(dataclasses.replace(outcome, front=[first, *outcome.front[1:]]))
    told = [note.text for note in notes if "Thinly trained" in note.text]
    assert len(told) == 1 and "0: intervals up to 2.0 times as wide" in told[0]
    columns = {"inherited_loss_low", "evaluator_coverage", "evaluator_interval_factor"}
    assert columns <= set(outcome.frame().columns)


def test_outputs_that_are_no_numbers_are_a_failure_and_leave_no_file(supernet_folder, tmp_path):
    folder = tmp_path / "spoilt"
    shutil.copytree(supernet_folder, folder)
    tensors, metadata = read_tensors(folder / "supernet.safetensors")
    tensors["head.bias"][0] = math.nan
    save_file(tensors, folder / "supernet.safetensors", metadata)
    (arch,) = draw_archs(SPACE, 1)
    (evaluation,) = _make(folder).evaluate([arch])
    assert evaluation.failure == "ValueError: inherited_loss must be a finite number (got inf)"
    with pytest.raises(
        ConfigError, match=r"outputs must be finite numbers \(got others of network"
    ):
        write_inherited_weights(arch, f"supernet:{folder}", "cpu")
    assert list((folder / "inherited").iterdir()) == []


def test_two_trainings_that_begin_at_once_take_their_network_out_once(
    supernet_folder, tmp_path, monkeypatch
):
    shutil.copytree(supernet_folder, tmp_path / "sn")
    (arch,) = draw_archs(SPACE, 1)
    taken = []

    def take(*words):
        taken.append(words)
        time.sleep(0.3)  # the other comes meanwhile
        return take_network(*words)

    monkeypatch.setattr(inherited_weights, "take_network", take)
    with ThreadPoolExecutor(2) as pool:
        files = pool.map(
            lambda _: write_inherited_weights(arch, f"supernet:{tmp_path / 'sn'}"), "ab"
        )
        assert len({written.file for written in files}) == 1
    assert len(taken) == 1


def test_it_is_for_its_space_and_for_what_is_left_of_it(evaluator, supernet_folder):
    values = SPACE.config.model_dump(mode="json")
    values["stages"][2]["depth"] = [1]
    part = SearchSpace(SpaceConfig.model_validate(values), "part")
    evaluator.check_space(part)
    values["stages"][2]["dim"] = [8, 32]
    wider = SearchSpace(SpaceConfig.model_validate(values), "wider")
    assert not holds_space(SPACE, wider)
    for other in (wider, SearchSpace.load("smt_micro")):
        with pytest.raises(ConfigError, match=r"was trained on space small .*Search with --space"):
            evaluator.check_space(other)
    values = SPACE.config.model_dump(mode="json")
    values["stages"][0]["mlp_ratio"] = [0.5]  # a part of each tensor, of which no network was made
    assert not holds_space(SPACE, SearchSpace(SpaceConfig.model_validate(values), "narrow"))
    space, budgets = find_scope(str(supernet_folder))
    assert SearchSpace.load(space).digest == SPACE.digest and budgets == ()


def test_one_of_a_part_of_a_space_is_searched_within_its_range(tmp_path):
    train(tmp_path / "part", steps=1, macs=(1.5e5, 2.5e5))
    space, budgets = find_scope(str(tmp_path / "part"))
    assert (space, budgets) == (str(tmp_path / "small.yaml"), ("0.15..0.25MMACs",))
    (tmp_path / "small.yaml").unlink()
    assert find_scope(str(tmp_path / "part"))[0] == str(tmp_path / "part" / "space.yaml")


def test_it_is_written_with_its_folder():
    choice = choose_evaluator("supernet:runs/sn")
    assert (choice.name, choice.word, choice.kind) == ("supernet", "supernet:runs/sn", "supernet")
    assert EvaluatorChoice.model_validate("supernet:runs/sn") == choice
    assert choice.training == {} and choice.options == ()
    for word in ("supernet", "supernet:"):
        with pytest.raises(ConfigError, match=r"must be written supernet:RUN \(got supernet\)"):
            choose_evaluator(word)
    with pytest.raises(ConfigError, match=r"--data: is for evaluator short-train \(got supernet"):
        choose_evaluator("supernet:runs/sn", {"data": "digits"})
    with pytest.raises(StoreError, match="must be the folder of a supernet"):
        make_evaluator("supernet:nowhere")


def test_it_is_judged_beside_the_predictor_on_a_bench_of_one_s_own(evaluator, tmp_path):
    """Its ratings are made up here, as they take time."""
    archs = list({arch.key: arch for arch in draw_archs(SPACE, 60)}.values())[:44]
    top1 = [by_size_and_kernels(arch) for arch in archs]
    own = Input(image_size=32, num_classes=10, in_channels=3, stem_stride=4)
    card = CARD.model_copy(update={"space": "small", "space_digest": SPACE.digest, "input": own})
    rows = []
    for arch, t in zip(archs, top1, strict=True):
        figures = {"val_top1": t, "val_loss": 1 - t, "test_top1": t, "seconds": 1.0}
        rows.append(BenchRow(arch, "band:0", 0, figures, "a CPU", "smt-nas 0"))
    bench = load_bench(str(written(tmp_path / "mine", rows, card)))
    known = {arch.key: t for arch, t in zip(archs, top1, strict=True)}

    def rate(_, networks):
        shares = [known[arch.key] for arch in networks]
        return [Evaluation(1 - t, "inherited", components={"inherited_top1": t}) for t in shares]

    predictor = make_evaluator(choose_evaluator("predictor"))
    validation = validate([evaluator, predictor], bench, rate, resamples=20)
    assert validation.left_out == 0
    names = [row.name for row in validation.rows]
    assert [names[0], names[-3:]] == [evaluator.name, ["#params", "#MACs", "random"]]
    assert validation.row(evaluator.name).agreement.kendall.value == pytest.approx(1.0)
    assert validation.row("predictor").held_out


def test_validation_takes_a_small_loss_for_better_and_judges_all_by_the_same(supernet_folder):
    own, foreign = draw_archs(SPACE, 12), draw_archs(SearchSpace.load("smt_micro"), 4)
    evaluator = _make(supernet_folder)
    rated = {e.key: e.loss for e in evaluator.supernet.evaluate(own)}
    top1 = [1 - rated[arch.key] / 10 for arch in own] + [0.5] * len(foreign)
    rows = [
        BenchRow(arch, "band:0", 0, {"val_top1": t, "seconds": 1.0}, "a CPU", "smt-nas 0")
        for arch, t in zip([*own, *foreign], top1, strict=True)
    ]
    validation = validate([evaluator], Bench("made up", CARD, tuple(rows)), resamples=50)
    row = validation.row(evaluator.name)
    assert row.agreement.kendall.value == pytest.approx(1.0)
    assert np.allclose(-row.figures, [rated[a.key] for a in validation.training_set.archs])
    assert (validation.left_out, row.agreement.failed) == (4, 0)
    assert any("cannot rate them: 4 networks" in line for line in validation_notes(validation))
    assert data_notes([evaluator.evidence], validation.bench) == []
    card = CARD.model_copy(update={"data": "fashion-mnist"})
    (line,) = data_notes([evaluator.evidence], Bench("other", card, ()))
    assert "by images of digits, the bench was trained on fashion-mnist" in line
    with pytest.raises(ConfigError, match=r"must hold 3 networks that supernet:.*got 0 of 4"):
        validate([evaluator], Bench("made up", CARD, tuple(rows[-4:])), resamples=50)
