"""Which output of a network is judged by which class of the data."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from smt_nas.models import build
from smt_nas.train.data import folders
from smt_nas.train.evaluate_weights import EvalRequest, evaluate_weights
from smt_nas.train.recipe import EvalTransform
from smt_nas.train.weights.checkpoint import save_weights
from smt_nas.train.weights.weights import read_weights
from tests.fakes.terminal import invoke
from tests.fakes.trainings import (
    ALONE,
    SHORT,
    StopAt,
    assert_same_tensors,
    last_checkpoint,
    resume,
    start,
)
from tests.fakes.weights import TINY, card

N = 12
NUMBERS = tuple(map(str, range(N)))


def colours(root, names, split="test"):
    """Six plain images of each class, in another colour each."""
    for k, name in enumerate(names):
        (root / split / name).mkdir(parents=True)
        for i in range(6):
            pixels = np.full((8, 8, 3), (21 * k, 255 - 21 * k, 40 * i), np.uint8)
            Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def network():
    """Outputs that differ from image to image."""
    model = build(
        TINY.model_copy(update={"num_classes": N}), generator=torch.Generator().manual_seed(0)
    ).eval()
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model


@pytest.fixture
def bare(network, tmp_path):
    """Weights that name no classes, and the words that name their network."""
    torch.save(network.state_dict(), tmp_path / "bare.pth")
    network.arch.save(tmp_path / "net.yaml")
    return tmp_path / "bare.pth", "--arch", tmp_path / "net.yaml"


def named(path, network, classes):
    about = {"arch": network.arch, "classes": tuple(classes), "evaluation": EvalTransform()}
    save_weights(path, card(**about), network.state_dict())
    return path


def hits(*words):
    """Class by class, how many are right; and how classes were matched."""
    document = json.loads(invoke("eval", *words, "--json").stdout)
    return [round(c["top1"] * c["n"]) for c in document["score"]["per_class"]], document["classes"]


def test_numbers_stand_for_outputs_whether_padded_or_not(network, bare, tmp_path):
    plain = colours(tmp_path / "plain", NUMBERS)
    padded = colours(tmp_path / "padded", [f"{k:02d}" for k in range(N)])
    right, how = hits(*bare, "--data", padded)
    assert how == "assumed" and sum(right) > 0
    assert hits(*bare, "--data", plain) == (right, "assumed")
    text = invoke("eval", *bare, "--data", plain).stdout
    assert "taken in the data's order, 0, 1, 2, …, 11, by number (torchvision's" in text
    own = named(tmp_path / "w.safetensors", network, [f"{k:02d}" for k in range(N)])
    assert hits(own, "--data", plain, "--split", "all")[1] == "by_number"
    assert "matched with the weights' by number" in invoke("eval", own, "--data", plain).stdout


def test_weights_trained_when_numbers_stood_as_text_are_judged_as_before(network, tmp_path):
    plain = colours(tmp_path / "plain", NUMBERS)
    old = named(tmp_path / "old.safetensors", network, sorted(NUMBERS))
    request = EvalRequest(weights=old, data=str(plain))
    now = evaluate_weights(request, ALONE, StopAt())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "order_classes", lambda names: tuple(sorted(names)))
        then = evaluate_weights(request, ALONE, StopAt())
    assert (now.matching, then.matching) == ("reordered", "same")
    assert now.score == then.score
    assert [c.name for c in now.score.per_class] == sorted(NUMBERS)


def test_images_that_are_kept_for_other_weights_give_the_same_score(network, tmp_path, monkeypatch):
    data = colours(tmp_path / "data", NUMBERS)
    broken = data / "test" / "3" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    weights = named(tmp_path / "w.safetensors", network, NUMBERS)
    request = EvalRequest(weights=weights, data=str(data), batch_size=5)
    read, held = (evaluate_weights(request, ALONE, StopAt(), hold=hold) for hold in (False, True))
    assert held.score == read.score and held.unreadable == read.unreadable
    assert (held.score.n, held.score.unreadable) == (71, 1)
    monkeypatch.setattr(folders, "decode_image", lambda path: pytest.fail("read again"))
    assert evaluate_weights(request, ALONE, StopAt(), hold=True).score == read.score


def test_a_file_names_the_outputs(network, bare, tmp_path):
    data = colours(tmp_path / "plain", NUMBERS)
    names = tmp_path / "classes.txt"
    names.write_text("\n".join(sorted(NUMBERS)))
    old = named(tmp_path / "old.safetensors", network, sorted(NUMBERS))
    by_file, how = hits(*bare, "--data", data, "--classes", names)
    assert how == "reordered" and by_file != hits(*bare, "--data", data)[0]
    normal = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    about = card(arch=network.arch, classes=tuple(sorted(NUMBERS)), **normal)
    save_weights(old, about, network.state_dict())
    assert by_file == hits(old, "--data", data)[0]
    names.write_text("cat")
    refused = invoke("eval", *bare, "--data", data, "--classes", names, code=1).stderr
    assert "must name each of the 12 classes on a line (got 1 lines)" in refused


def test_a_wrong_order_is_suspected_where_classes_are_exchanged(network, tmp_path):
    data = colours(tmp_path / "data", ("a", "b", "c"))

    class Certain(nn.Module):
        """Takes a for b, b for c, c for a: by the green of an image."""

        def forward(self, x):
            green = x[:, 1].mean(dim=(1, 2)) * 0.5 + 0.5
            label = ((1 - green) * 255 / 21).round().long()
            return nn.functional.one_hot((label + 1) % 3, 3).float()

    from dataclasses import replace

    from smt_nas.report.train.evaluation import find_other_order, score_notes
    from smt_nas.train.data.batches.transforms import create_evaluation_transform
    from smt_nas.train.data.sources import load_source
    from smt_nas.train.evaluation import evaluate

    transform = create_evaluation_transform(EvalTransform(), 32, 3, (0.5,) * 3, (0.5,) * 3)
    test = load_source(str(data)).test
    images = torch.stack([transform(test.image(i)) for i in range(len(test))])
    batches = [(images, torch.from_numpy(test.labels))]
    score = evaluate(Certain(), batches, "abc", ALONE, "fp32", confusions=True)
    assert score.top1 == 0 and find_other_order(score) == 1
    weights = named(tmp_path / "w.safetensors", network, NUMBERS)
    numbers = colours(tmp_path / "numbers", NUMBERS)
    result = evaluate_weights(EvalRequest(weights=weights, data=str(numbers)), ALONE, StopAt())
    notes = score_notes(replace(result, score=score, matching="assumed"))
    assert any("with those exchanged top-1 would be 100.00 %" in note for note in notes)


def test_a_training_goes_on_with_the_order_it_began_with(tmp_path):
    data = colours(tmp_path / "data", NUMBERS, "train")
    request = SHORT.__class__("tiny", str(data), epochs=2, changes=("batch_size=20",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "order_classes", lambda names: tuple(sorted(names)))
        start(request, tmp_path / "whole")
        start(request, tmp_path / "broken", until_epoch=1)
    resume(tmp_path / "broken")
    assert read_weights(tmp_path / "broken").card.classes == tuple(sorted(NUMBERS))
    assert_same_tensors(last_checkpoint(tmp_path / "broken"), last_checkpoint(tmp_path / "whole"))


def test_a_start_from_weights_brings_their_rows_into_the_data_s_order(network, tmp_path):
    data = colours(tmp_path / "data", NUMBERS, "train")
    old = named(tmp_path / "old.safetensors", network, sorted(NUMBERS))
    request = SHORT.__class__(
        "tiny",
        str(data),
        epochs=1,
        init=str(old),
        changes=("batch_size=20", "optimizer.lr=1e-12", "optimizer.weight_decay=0", "ema=null"),
    )
    run = start(request, tmp_path / "run").run
    rows = [sorted(NUMBERS).index(name) for name in NUMBERS]
    head = read_weights(run).state["head.weight"]
    torch.testing.assert_close(head, network.head.weight[rows], atol=1e-4, rtol=0)
