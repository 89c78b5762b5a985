"""Torch's counter and parameters of built models, against the formulas; nothing is allocated."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from smt_nas.arch import preset
from smt_nas.costs.heads import HEADS, count_task
from smt_nas.costs.heads.detection_heads import MASKS, PROPOSALS
from smt_nas.tasks.task_network import build_task

BUILT = [("smt_s", "mask-rcnn"), ("smt_b", "upernet"), ("smt_t", "retinanet"), ("smt_s", "upernet")]


def run_mask_rcnn(network, images):
    maps = network.backbone(images)
    network.rpn.head(list(maps.values()))
    heads = network.roi_heads
    heads.box_predictor(heads.box_head(torch.empty(PROPOSALS, 256, 7, 7, device="meta")))
    heads.mask_predictor(heads.mask_head(torch.empty(MASKS, 256, 14, 14, device="meta")))


def run_retinanet(network, images):
    network.head(list(network.backbone(images).values()))


RUNS = {
    "mask-rcnn": run_mask_rcnn,
    "retinanet": run_retinanet,
    "upernet": lambda network, images: network(images),
}


@pytest.mark.parametrize(("name", "head"), BUILT)
def test_what_is_built_is_what_is_counted(name, head):
    network = build_task(preset(name), head, device="meta").eval()
    costs = count_task(preset(name), HEADS[head])
    assert sum(p.numel() for p in network.parameters()) == costs.params
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        RUNS[head](network, torch.empty(1, 3, *costs.padded_size, device="meta"))
    assert counter.get_total_flops() == 2 * costs.macs


@pytest.mark.parametrize("size", [(225, 347), (512, 96)])
def test_sizes_that_are_not_square_or_not_multiples(size):
    network = build_task(preset("smt_t"), "upernet", device="meta").eval()
    costs = count_task(preset("smt_t"), HEADS["upernet"], input_size=size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, *size, device="meta"))
    assert counter.get_total_flops() == 2 * costs.macs
