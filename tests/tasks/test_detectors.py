"""Mask R-CNN and RetinaNet: anchors, assignment, losses and detections as published."""

import copy

import pytest
import torch
import torch.nn.functional as F

from smt_nas.arch import preset
from smt_nas.costs.heads import MaskRCNNConfig, RetinaNetConfig, UPerNetConfig
from smt_nas.errors import ConfigError
from smt_nas.models import build
from smt_nas.tasks.box_anchors import OverlapMatcher, StrideAnchors, detection
from smt_nas.tasks.detectors import MaskRCNN, RetinaNet
from smt_nas.tasks.region_heads import cut_masks
from smt_nas.tasks.region_proposals import ProposalNetwork
from smt_nas.tasks.task_network import build_task
from tests.fakes.weights import TINY

SMALL = {
    "mask-rcnn": MaskRCNNConfig(classes=2, neck=8, fc=16, mask=8, mask_convs=1),
    "retinanet": RetinaNetConfig(classes=2, neck=8, convs=1),
}


def make_detector(head, **settings):
    torch.manual_seed(0)
    body = build(TINY, features_only=True, generator=torch.Generator().manual_seed(0))
    make = {"mask-rcnn": MaskRCNN, "retinanet": RetinaNet}[head]
    return make(body, SMALL[head], short=(64,), long=96, **settings)


def make_batch():
    """A picture with two things, one with none."""
    images = [torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    masks = torch.zeros(2, 50, 70, dtype=torch.uint8)
    masks[0, 5:30, 10:40] = 1
    masks[1, 20:45, 30:66] = 1
    boxes = torch.tensor([[10.0, 5, 40, 30], [30, 20, 66, 45]])
    labels = torch.tensor([1, 2])
    none = {"boxes": boxes[:0], "labels": labels[:0], "masks": masks[:0]}
    return images, [{"boxes": boxes, "labels": labels, "masks": masks}, none]


@pytest.mark.parametrize("head", SMALL)
def test_a_step_reaches_every_weight(head):
    network = make_detector(head, **({"proposals": 50, "sampled": 32} if "mask" in head else {}))
    images, targets = make_batch()
    losses = network(images, targets)
    assert all(torch.isfinite(loss) and loss >= 0 for loss in losses.values())
    sum(losses.values()).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    # a RetinaNet takes three maps; the first stage's norm feeds the second stage, too
    assert not without
    assert targets[0]["labels"].tolist() == [1, 2]  # what was given is left alone


@pytest.mark.parametrize("head", SMALL)
def test_detections_are_of_the_image_as_it_was_given(head):
    network = make_detector(head).eval()
    _prefer_class_two(network, head)
    images, _ = make_batch()
    with torch.no_grad():
        detections = network(images)
    assert len(detections) == 2
    for each in detections:
        assert 0 < len(each["boxes"]) <= 100
        assert set(each["labels"].tolist()) == {2}  # classes are counted from 1
        assert (each["boxes"] >= 0).all()
        assert (each["boxes"] <= torch.tensor([70.0, 50, 70, 50])).all()
        if head == "mask-rcnn":
            assert each["masks"].shape == (len(each["boxes"]), 1, 50, 70)


def _prefer_class_two(network, head):
    with torch.no_grad():
        if head == "mask-rcnn":
            network.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([0.0, -9, 9]))
        else:
            network.head.classification_head.cls_logits.bias.copy_(torch.tensor([-9.0, 9] * 9))


def test_a_copy_of_a_trained_detector_stands_alone():
    """As moving averages are made."""
    network = make_detector("mask-rcnn", proposals=20, sampled=16)
    network(*make_batch())
    copied = copy.deepcopy(network)
    before = copied.state_dict()["roi_heads.box_head.fc6.weight"].clone()
    with torch.no_grad():
        network.roi_heads.box_head.fc6.weight.add_(1)
    assert torch.equal(copied.state_dict()["roi_heads.box_head.fc6.weight"], before)


def test_anchors_stand_at_the_strides_of_the_maps():
    anchors = StrideAnchors((32, 64), (8.0,))
    images = detection.image_list.ImageList(torch.empty(1, 3, 96, 96), [(96, 90)])
    maps = [torch.empty(1, 1, 3, 3), torch.empty(1, 1, 2, 2)]  # 96 / 2 = 48 is not the stride
    (boxes,) = anchors(images, maps)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]
    assert centres[27:].unique(dim=0).tolist() == [[0, 0], [0, 64], [64, 0], [64, 64]]
    torch.testing.assert_close(sides.prod(dim=1)[27:], torch.full((12,), 512.0**2))
    torch.testing.assert_close((sides[:3, 1] / sides[:3, 0]), torch.tensor([0.5, 1, 2]))
    assert sides[0, 0] == pytest.approx(256 * 2**0.5)  # not rounded


def test_assignment_is_the_published_one():
    overlaps = torch.tensor(
        [
            [0.8, 0.5, 0.2, 0.0, 0.1],
            [0.1, 0.35, 0.2, 0.0, 0.1],
            [0.0, 0.0, 0.0, 0.2, 0.1],
        ]
    )
    # the second object's best is 0.35; the third's is below 0.3 and so no match
    assert OverlapMatcher(0.7, 0.3, 0.3)(overlaps).tolist() == [0, 1, -1, -1, -1]
    assert OverlapMatcher(0.7, 0.3, 0.1)(overlaps).tolist() == [0, 1, -1, 2, -1]
    assert OverlapMatcher(0.7, 0.3, 0.4)(overlaps).tolist() == [0, -2, -1, -1, -1]
    nothing = torch.zeros(1, 3)
    assert OverlapMatcher(0.5, 0.4, 0.0)(nothing).tolist() == [-1, -1, -1]


def test_proposals_are_trained_by_l1_over_all_samples():
    network = ProposalNetwork(8, (4, 8), 10)
    labels = [torch.tensor([1.0, 0, 0, -1])]
    objectness = torch.tensor([[2.0], [-1], [0], [5]])
    deltas, wanted = torch.full((4, 4), 3.0), [torch.ones(4, 4)]
    objects, boxes = network.compute_loss(objectness, deltas, labels, wanted)
    assert boxes.item() == pytest.approx(4 * 2 / 3)  # one box of four, each 2 off, three samples
    entropy = F.binary_cross_entropy_with_logits(objectness[:3, 0], labels[0][:3])
    torch.testing.assert_close(objects, entropy)


def test_as_many_proposals_in_training_as_published():
    rpn = build_task(preset("smt_t"), "mask-rcnn", device="meta").rpn
    assert (rpn.pre_nms_top_n(), rpn.post_nms_top_n()) == (2000, 1000)
    rpn.eval()
    assert (rpn.pre_nms_top_n(), rpn.post_nms_top_n()) == (1000, 1000)


def test_masks_are_cut_out_along_their_boxes():
    masks = torch.zeros(2, 8, 8, dtype=torch.uint8)
    masks[1, 2:6, 2:4] = 1  # the left half of a box
    boxes = torch.tensor([[2.0, 2, 6, 6], [0, 0, 8, 8]])
    cut = cut_masks(masks, boxes, torch.tensor([1, 0]), 4)
    assert cut[0].tolist() == [[1.0, 1, 0, 0]] * 4
    assert not cut[1].any()


def test_a_config_of_another_head_and_grey_images_are_refused():
    with pytest.raises(ConfigError, match=r"must get a MaskRCNNConfig \(got a UPerNetConfig\)"):
        build_task(TINY, "mask-rcnn", UPerNetConfig())
    grey = TINY.model_copy(update={"in_channels": 1})
    with pytest.raises(ConfigError, match=r"in_channels must be 3 \(got 1\)"):
        build_task(grey, "retinanet")


@pytest.mark.parametrize("head", SMALL)
def test_weights_depend_on_the_generator_alone(head):
    make = lambda seed: build_task(  # noqa: E731
        TINY, head, SMALL[head], torch.Generator().manual_seed(seed)
    ).state_dict()
    first, again, other = make(1), make(1), make(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(
        not torch.equal(first[name], other[name]) for name in first if "backbone" not in name
    )
