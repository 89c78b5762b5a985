"""Soft targets: the loss in numbers, and a teacher that sees its own images and never learns."""

import math

import pytest
import torch
from torch import nn

from smt_nas.errors import StoreError, TrainingError
from smt_nas.models import build
from smt_nas.runtime.torchvision_ops import import_timm
from smt_nas.train.distill import DistillLoss, Teacher, load_teacher, soft_target_loss
from smt_nas.train.recipe import Distill
from smt_nas.train.weights.checkpoint import save_weights
from tests.fakes.weights import TINY, card

CPU = torch.device("cpu")
NORM = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
PLAIN = ((0.0,) * 3, (1.0,) * 3)


def by_hand(student, teacher, temperature):
    """`T^2 * KL` of one row of logits each, in plain Python."""

    def softmax(row):
        powers = [math.exp(x / temperature) for x in row]
        return [p / sum(powers) for p in powers]

    q, p = softmax(student), softmax(teacher)
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.5])
def test_the_soft_loss_by_hand(temperature):
    student = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]
    teacher = [[0.2, 0.1, -4.0], [2.0, 2.0, 2.5]]
    wanted = sum(by_hand(s, t, temperature) for s, t in zip(student, teacher, strict=True)) / 2
    tensors = (torch.tensor(x, dtype=torch.float64) for x in (student, teacher))
    assert soft_target_loss(*tensors, temperature).item() == pytest.approx(wanted, rel=1e-12)


def test_the_soft_loss_is_zero_for_equal_logits_and_known_for_two_classes():
    same = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert soft_target_loss(same, same + 3, 2.0).item() == pytest.approx(0, abs=1e-14)
    # teacher 3/4 and 1/4, student 1/2 and 1/2, T = 1: 3/4 log 3/2 + 1/4 log 1/2
    pair = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64), torch.zeros(1, 2).double()
    assert soft_target_loss(pair[1], pair[0], 1.0).item() == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-12
    )


def test_half_precision_is_computed_in_single():
    student, teacher = torch.randn(2, 3, 100, generator=torch.Generator().manual_seed(0)) * 8
    exact = soft_target_loss(student.bfloat16().float(), teacher.bfloat16().float(), 2.0)
    found = soft_target_loss(student.bfloat16(), teacher.bfloat16(), 2.0)
    assert found.dtype == torch.float32 and torch.equal(found, exact)


class Linear(nn.Module):
    """Logits that are a fixed matrix times the mean of each channel."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 2, 3], [-1, 0, 1]]))
        self.seen = []

    def forward(self, x):
        self.seen.append((x.clone(), self.training, torch.is_inference_mode_enabled()))
        return x.mean((2, 3)) @ self.weight.t()


def test_the_loss_mixes_both_by_weight():
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = torch.tensor([[0.3, -0.2], [1.0, 0.5]], dtype=torch.float64)
    targets = torch.tensor([0, 1])
    labels = {"seen": None}

    def of_labels(images, logits, targets):
        labels["seen"] = (images, logits, targets)
        return torch.tensor(7.0, dtype=torch.float64)

    teacher = Linear().double()
    loss = DistillLoss(teacher, Distill(temperature=3.0, weight=0.3), of_labels)
    their = teacher(images).tolist()
    soft = sum(by_hand(s, t, 3.0) for s, t in zip(logits.tolist(), their, strict=True)) / 2
    found = loss(images, logits, targets)
    assert found.item() == pytest.approx(0.3 * soft + 0.7 * 7, rel=1e-12)
    assert all(a is b for a, b in zip(labels["seen"], (images, logits, targets), strict=True))


def test_gradients_reach_the_student_alone():
    student, inner = Linear(), Linear()
    teacher = Teacher(inner, PLAIN, PLAIN)
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        student.weight.mul_(0.5)
    loss = DistillLoss(teacher, Distill(weight=1.0), lambda i, x, t: x.sum())
    loss(images, student(images), torch.zeros(2)).backward()
    assert student.weight.grad.abs().sum() > 0
    assert inner.weight.grad is None and not inner.weight.requires_grad


def test_a_teacher_stays_in_eval_mode_and_sees_the_images_as_they_are():
    inner = nn.Sequential(Linear(), nn.Dropout(0.9))
    teacher = Teacher(inner, NORM, NORM).train()
    assert not any(m.training for m in teacher.modules())
    images = torch.rand(1, 3, 4, 4)
    logits = teacher(images)
    (seen, training, inference) = inner[0].seen[0]
    assert torch.equal(seen, images) and not training and inference
    assert not logits.is_inference() and not logits.requires_grad


def test_a_teacher_sees_images_in_its_own_normalisation():
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in NORM)
    other = ((0.1, 0.2, 0.9), (0.5, 0.6, 0.7))
    their_mean, their_std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in other)
    inner = Linear()
    Teacher(inner, other, NORM)((pixels - mean) / std)
    torch.testing.assert_close(inner.seen[0][0], (pixels - their_mean) / their_std)


def test_a_teacher_runs_in_the_student_s_precision():
    inner = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with torch.autocast("cpu", torch.bfloat16):
        assert Teacher(inner, PLAIN, PLAIN)(torch.rand(1, 3, 2, 2)).dtype == torch.bfloat16


@pytest.fixture
def ours(tmp_path):
    """Weights of ours, and the network they are of."""
    net = build(TINY, generator=torch.Generator().manual_seed(0)).eval()
    save_weights(tmp_path / "best.safetensors", card(mean=NORM[0], std=NORM[1]), net.state_dict())
    return tmp_path, net


def test_a_checkpoint_of_ours_teaches(ours):
    path, net = ours
    before = torch.random.get_rng_state()
    teacher = load_teacher(str(path), TINY, ("a", "b", "c"), NORM, CPU)
    assert torch.equal(torch.random.get_rng_state(), before)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(teacher(images), net(images))
    other = load_teacher(str(path), TINY, ("a", "b", "c"), PLAIN, CPU)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in NORM)
    torch.testing.assert_close(other(images), net((images - mean) / std))


def test_a_teacher_whose_classes_stand_in_another_order_is_asked_in_the_data_s(ours):
    path, net = ours
    teacher = load_teacher(str(path), TINY, ("b", "c", "a"), NORM, CPU)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(teacher(images), net(images)[:, [1, 2, 0]])


def test_a_student_of_another_size_and_shape_learns_too(ours):
    bigger = TINY.model_copy(update={"image_size": 48})
    assert load_teacher(str(ours[0]), bigger, ("x", "y", "z"), NORM, CPU)(
        torch.rand(1, 3, 48, 48)
    ).shape == (1, 3)


@pytest.mark.parametrize(
    ("changes", "classes", "told"),
    [
        ({}, ("a", "b"), r"classes of the data \(got 3 for 2\)"),
        ({"in_channels": 1}, ("a", "b", "c"), r"images of 1 channels \(got 3\)"),
    ],
)
def test_a_teacher_that_does_not_fit_is_told(changes, classes, told, ours):
    with pytest.raises(TrainingError, match=told):
        load_teacher(str(ours[0]), TINY.model_copy(update=changes), classes, NORM, CPU)


def test_grey_images_are_normalised_by_the_mean_over_colours(tmp_path):
    grey = TINY.model_copy(update={"in_channels": 1})
    net = build(grey, generator=torch.Generator().manual_seed(0)).eval()
    save_weights(
        tmp_path / "w.safetensors", card(arch=grey, mean=NORM[0], std=NORM[1]), net.state_dict()
    )
    teacher = load_teacher(str(tmp_path / "w.safetensors"), grey, ("a", "b", "c"), PLAIN, CPU)
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(teacher(images), net((images - 0.4) / 0.3))


def test_a_teacher_needs_weights_with_a_card(tmp_path):
    torch.save(build(TINY).state_dict(), tmp_path / "w.pth")
    with pytest.raises(TrainingError, match="got weights without a card"):
        load_teacher(str(tmp_path / "w.pth"), TINY, ("a", "b", "c"), NORM, CPU)
    with pytest.raises(StoreError, match="no such file"):
        load_teacher(str(tmp_path / "none"), TINY, ("a", "b", "c"), NORM, CPU)


@pytest.fixture
def no_download(monkeypatch):
    """timm's networks with random weights where published ones are asked for."""
    library, asked = import_timm(), []
    create = library.create_model

    def made(name, pretrained, **options):
        asked.append((name, pretrained, options))
        return create(name, pretrained=False, num_classes=3, **options)

    monkeypatch.setattr(library, "create_model", made)
    return asked


def test_a_network_of_timm_s_teaches_with_its_published_weights(no_download):
    before = torch.random.get_rng_state()
    teacher = load_teacher("timm:resnet10t", TINY, ("a", "b", "c"), PLAIN, CPU)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert no_download == [("resnet10t", True, {})]
    images = torch.rand(1, 3, 32, 32)
    config = teacher.network.pretrained_cfg
    mean, std = (torch.tensor(config[k]).reshape(1, 3, 1, 1) for k in ("mean", "std"))
    torch.testing.assert_close(teacher(images), teacher.network((images - mean) / std))


def test_a_network_of_a_fixed_size_is_built_for_the_student_s(no_download):
    arch = TINY.model_copy(update={"image_size": 64})
    load_teacher("timm:vit_tiny_patch16_224", arch, ("a", "b", "c"), PLAIN, CPU)
    assert no_download[0][2] == {"img_size": 64}


def test_a_size_that_a_network_does_not_take_is_told(no_download, monkeypatch):
    def narrow(self, x):
        raise ValueError(f"no images of\n{tuple(x.shape)}")

    monkeypatch.setattr(import_timm().models.VisionTransformer, "forward", narrow)
    arch = TINY.model_copy(update={"image_size": 40})
    with pytest.raises(
        TrainingError, match=r"must take images of 40 px \(got .*1, 3, 40, 40"
    ) as error:
        load_teacher("timm:vit_tiny_patch16_224", arch, ("a", "b", "c"), PLAIN, CPU)
    assert "\n" not in str(error.value)


def test_classes_of_timm_s_networks_are_checked(no_download):
    with pytest.raises(TrainingError, match=r"got 3 for 4"):
        load_teacher("timm:resnet10t", TINY, ("a", "b", "c", "d"), PLAIN, CPU)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnet81", "no timm model has that name .*Did you mean"),
        ("resnet18.none", "weights must be had.*Invalid pretrained tag"),
        ("rexnetr_100", "weights must be had.*No pretrained weights exist"),
    ],
)
def test_names_that_timm_lacks_are_told(name, told):
    with pytest.raises(TrainingError, match=told):
        load_teacher(f"timm:{name}", TINY, ("a", "b", "c"), NORM, CPU)


def test_without_a_network_one_line_tells_so(monkeypatch, tmp_path):
    import_timm()
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    with pytest.raises(
        TrainingError, match=r"resnet10t: its weights must be had.*Go online"
    ) as error:
        load_teacher("timm:resnet10t", TINY, ("a", "b", "c"), NORM, CPU)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
