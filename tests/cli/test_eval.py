"""`smt-nas eval`: figures, what they are of, overrides, and refusals in one line."""

import json

import pytest
import torch
from torch import nn

from smt_nas.models import build, to_official
from smt_nas.report.train.evaluation import class_table, score_table
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.data.sources import load_source
from smt_nas.train.evaluate_weights import EvalRequest, evaluate_weights
from smt_nas.train.recipe import EvalTransform
from smt_nas.train.weights.checkpoint import save_weights
from tests.fakes.images import folder
from tests.fakes.terminal import invoke, printed
from tests.fakes.trainings import ALONE
from tests.fakes.weights import TINY, card

DIGITS = tuple("0123456789")


def network(classes=10, seed=0, **changes):
    """A network whose outputs differ from image to image."""
    arch = TINY.model_copy(update={"num_classes": classes, **changes})
    model = build(arch, generator=torch.Generator().manual_seed(seed)).eval()
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model


def saved(path, model, **fields):
    base = {"arch": model.arch, "classes": DIGITS, "mean": (0.3,) * 3, "std": (0.3,) * 3}
    base["evaluation"] = EvalTransform(resize="direct", interpolation="bilinear")
    save_weights(path, card(**base | fields), model.state_dict())
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("weights") / "mine.safetensors", network())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("photos") / "all", {"cat": 5, "dog": 4, "owl": 6})


def document(*words):
    return json.loads(invoke("eval", *words, "--json").stdout)


def test_the_test_split_of_the_weights_own_data(weights):
    found = document(weights)
    source, model = load_source("digits"), network()
    hits = 0
    from smt_nas.train.data.batches.transforms import create_evaluation_transform

    transform = create_evaluation_transform(
        EvalTransform(resize="direct", interpolation="bilinear"), 32, 3, (0.3,) * 3, (0.3,) * 3
    )
    n = len(source.test)
    with torch.inference_mode():
        x = torch.stack([transform(source.test.image(i)) for i in range(n)])
        hits = int((model(x).argmax(dim=1) == torch.from_numpy(source.test.labels)).sum())
    assert (found["schema"], found["kind"], found["provenance"]) == (1, "evaluation", "trained")
    assert (found["split"], found["data"], found["carved"]) == ("test", "digits", False)
    score = found["score"]
    assert (score["n"], score["unreadable"], score["nonfinite"]) == (n, 0, 0)
    assert score["top1"] == hits / n
    assert score["top1_low"] < score["top1"] < score["top1_high"]
    assert [c["name"] for c in score["per_class"]] == list(DIGITS)
    assert sum(c["n"] for c in score["per_class"]) == n
    assert found["weights"]["kind"] == "model" and found["weights"]["epoch"] == 1
    assert found["preparation"] == {
        "resize": "direct",
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "image_size": 32,
        "tta": "none",
    }


def test_batches_and_reading_processes_change_nothing(weights):
    base = ("--split", "validation")
    one = document(weights, *base)["score"]
    other = document(weights, *base, "--batch-size", 7, "--workers", 1)["score"]
    for name in ("loss", "loss_error"):
        assert other.pop(name) == pytest.approx(one.pop(name), rel=1e-6)
    assert other == one
    assert one["n"] == 145  # a tenth of the training images, as in the training


@pytest.mark.parametrize(
    "words",
    [
        ("--resize", "center"),
        ("--resize", "center", "--crop-pct", 0.5),
        ("--image-size", 64),
        ("--tta", "flip"),
        ("--precision", "amp-bf16"),
    ],
)
def test_overrides_reach_the_images(weights, words):
    base = (weights, "--split", "validation")
    changed = document(*base, *words)
    assert changed["score"]["loss"] != document(*base)["score"]["loss"]
    told = {**changed["preparation"], "precision": changed["precision"]}
    name = words[-2].removeprefix("--").replace("-", "_")
    assert told[name] == words[-1]


def test_tables_say_what_they_are_of(weights):
    text = invoke("eval", weights).stdout
    for told in (
        "trained",
        "top-1 %",
        "test split of digits",
        "355 images of 10 classes",
        "32 px, resized; fp32 on cpu",
        "as trained, epoch 1, update 7",
        "Wilson",
        "most often taken for",
    ):
        assert told in text
    assert "most often" not in invoke("eval", weights, "--no-per-class").stdout
    flipped = invoke("eval", weights, "--tta", "flip", "--split", "validation").stdout
    assert "each with its mirror image" in flipped and "--tta flip harms" in flipped
    seen = invoke("eval", weights, "--split", "all").stdout
    assert "trained on some of these images" in seen and "all images of digits" in seen


def test_tables_fit_80_columns(tmp_path):
    names = tuple(f"a class with quite a long name, number {i}" for i in range(10))
    path = saved(tmp_path / "w.safetensors", network(), classes=names)
    where = folder(tmp_path / "data", {name: 2 for name in names})
    request = EvalRequest(weights=path, data=str(where))
    result = evaluate_weights(request, ALONE, NullProgress())
    assert result.split == "all" and result.score.n == 20
    printed(score_table(result))
    printed(class_table(result))


def test_unreadable_images_are_left_out_and_told(tmp_path, photos):
    path = saved(tmp_path / "w.safetensors", network(3), classes=("cat", "dog", "owl"))
    assert document(path, "--data", photos)["score"]["n"] == 15
    broken = folder(tmp_path / "all", {"cat": 5, "dog": 4, "owl": 6})
    (broken / "dog" / "1.jpg").write_bytes(b"no image")
    result = invoke("eval", path, "--data", broken)
    assert "Left out, as unreadable: 1 image." in result.stdout
    assert f"Not read: {broken}/dog/1.jpg (UnidentifiedImageError" in result.stdout
    assert "all images of" in result.stdout and "No top-5" in result.stdout
    refused = invoke("eval", path, "--data", broken, "--max-unreadable", 0, code=1)
    assert "1.jpg" in refused.stderr and "--max-unreadable" in refused.stderr


def test_published_weights_with_a_named_network(tmp_path, photos):
    model = network(3, layer_scale=0.5)
    nn.init.normal_(model.stages[0].blocks[0].scale1.gamma)
    torch.save({"model": to_official(model)}, tmp_path / "published.pth")
    TINY.model_copy(update={"num_classes": 7}).save(tmp_path / "net.yaml")
    found = document(tmp_path / "published.pth", "--data", photos, "--arch", tmp_path / "net.yaml")
    own = saved(
        tmp_path / "own.safetensors",
        model,
        classes=("cat", "dog", "owl"),
        mean=load_source(str(photos)).mean,
        std=load_source(str(photos)).std,
        evaluation=EvalTransform(),
    )
    assert found["weights"]["kind"] == "published" and found["weights"]["epoch"] is None
    ours = document(own, "--data", photos)["score"]
    assert found["score"]["loss"] == pytest.approx(ours["loss"], rel=1e-5)
    text = invoke(
        "eval", tmp_path / "published.pth", "--data", photos, "--arch", tmp_path / "net.yaml"
    ).stdout
    assert "without a card; taken for" in text


def test_an_average_in_a_published_file_is_told_and_evaluated_when_asked(tmp_path, photos):
    state, file = to_official(network(3)), tmp_path / "both.pth"
    zero = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save({"model": zero, "model_ema": state, "epoch": 3}, file)
    TINY.save(tmp_path / "net.yaml")
    words = ("--data", photos, "--arch", tmp_path / "net.yaml")
    text = invoke("eval", file, *words).stdout
    assert "has model and model_ema (a moving average); taken is model" in text
    raw, ema = document(file, *words), document(f"{file}:ema", *words)
    assert (raw["weights"]["averaged"], ema["weights"]["averaged"]) == (False, True)
    torch.save(state, tmp_path / "alone.pth")
    assert ema["score"] == document(tmp_path / "alone.pth", *words)["score"] != raw["score"]


@pytest.fixture
def bad(tmp_path, weights, photos):
    """Words by name, for refusals."""
    torch.save(to_official(network(3)), tmp_path / "published.pth")
    emus = saved(tmp_path / "o.safetensors", network(3), classes=("cat", "dog", "emu"))
    return {
        "W": weights,
        "PHOTOS": photos,
        "EMUS": emus,
        "OWLS": saved(tmp_path / "w.safetensors", network(3), classes=("cat", "dog", "owl")),
        "PTH": tmp_path / "published.pth",
        "GONE": tmp_path / "gone",
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["GONE"], "no such file"),
        (["W", "--data", "PHOTOS"], r"got 10 outputs, 3 classes"),
        (["EMUS", "--data", "PHOTOS"], "got 'owl' in the data only, 'emu' in the weights only"),
        (["W", "--data", "GONE"], "gone"),
        (["W", "--split", "tset"], "split must be"),
        (["W", "--batch-size", 0], "batch_size must be"),
        (["W", "--crop-pct", "nan"], "crop_pct must be"),
        (["W", "--crop-pct", 0], "crop_pct must be"),
        (["W", "--resize", "squash"], "resize must be"),
        (["W", "--image-size", 8], "image_size must be"),
        (["W", "--tta", "all"], "tta must be"),
        (["W", "--precision", "tf32"], "TF32"),
        (["W", "--precision", "fp8"], "precision must be"),
        (["W", "--arch", "smt_t"], "Leave it out"),
        (["W", "--device", "tpu"], "must be one that is known"),
        (["PTH", "--data", "PHOTOS"], "--arch smt_t"),
        (["PTH", "--arch", "smt_t", "--data", "PHOTOS"], "Name another --arch"),
        (["PTH", "--arch", "smt_q", "--data", "PHOTOS"], "Did you mean"),
        (["OWLS", "--data", "PHOTOS", "--split", "test"], "has no test split"),
    ],
)
def test_refusals_are_one_line(bad, words, told):
    result = invoke("eval", *(bad.get(w, w) for w in words), code=1)
    assert told in " ".join(result.stderr.split())
    assert len(result.stderr.strip().splitlines()) == 1 and result.stdout == ""
