"""Whole models by formula: the published figures, as far as the published code builds them."""

import pytest

from smt_nas.arch import PRESETS, preset
from smt_nas.costs import of
from smt_nas.costs.heads import (
    HEADS,
    MaskRCNNConfig,
    RetinaNetConfig,
    UPerNetConfig,
    count_task,
    find_head,
)
from smt_nas.costs.heads.head_table import PUBLISHED_COSTS
from smt_nas.errors import ConfigError, UnknownName

# exact counts of the published code's backbones with torchvision's and transformers' heads
COUNTS = {
    ("smt_s", "mask-rcnn"): (42_188_976, 265_035_248_640, 75_776_000_000),
    ("smt_b", "mask-rcnn"): (51_675_376, 326_845_936_640, 116_736_000_000),
    ("smt_s", "retinanet"): (32_271_540, 246_480_701_440, 75_776_000_000),
    ("smt_s", "upernet"): (52_345_580, 939_605_360_640, 79_456_894_976),
    ("smt_b", "upernet"): (61_831_980, 1_002_899_505_152, 122_406_567_936),
}


@pytest.mark.parametrize(("name", "head"), COUNTS)
def test_figures_are_those_of_the_published_code(name, head):
    costs = count_task(preset(name), HEADS[head])
    counted = (costs.params, costs.paper_macs, costs.attention_macs)
    assert counted == COUNTS[name, head]
    assert costs.macs == costs.paper_macs + costs.attention_macs


@pytest.mark.parametrize(("name", "head"), PUBLISHED_COSTS)
def test_published_macs_are_met_within_half_a_percent(name, head):
    costs = count_task(preset(name), HEADS[head])
    assert costs.published is PUBLISHED_COSTS[name, head]
    assert costs.paper_macs / 1e9 == pytest.approx(costs.published.gflops, rel=0.005)
    if name == "smt_b":  # of S the paper's params are not those of its code, in any row
        assert costs.params / 1e6 == pytest.approx(costs.published.params_m, abs=0.5)


@pytest.mark.parametrize("head", HEADS.values(), ids=lambda head: head.name)
def test_parts_add_up_to_the_whole(head):
    arch = PRESETS["smt_t"]
    costs = count_task(arch, head)
    values = costs.as_dict()
    assert sum(p["params"] for p in values["parts"]) == values["params"]
    assert sum(p["macs"] for p in values["parts"]) == values["macs_without_attention"]
    whole = of(arch, head.input_size)
    classifier = 512 * 1000
    assert costs.backbone_macs + costs.attention_macs == whole.macs - classifier
    assert costs.backbone_params == whole.params - classifier - 1000


def test_detectors_pad_as_published_and_segmenters_do_not():
    arch = PRESETS["smt_s"]
    detector = count_task(arch, HEADS["mask-rcnn"], input_size=(800, 1333))
    assert detector.padded_size == (800, 1344)
    assert detector.macs == count_task(arch, HEADS["mask-rcnn"], input_size=(800, 1344)).macs
    segmenter = count_task(arch, HEADS["upernet"], input_size=(500, 701))
    assert segmenter.padded_size == segmenter.input_size == (500, 701)
    # positions a stage: 125 x 175 after the stem, then halves rounded up
    wider = count_task(arch, HEADS["upernet"], input_size=(500, 700))
    assert wider.macs == segmenter.macs - 3 * 9 * 64 * 250  # one more column of the stem's first
    assert detector.published is segmenter.published is None


def test_published_figures_are_of_the_published_model_alone():
    arch, head = PRESETS["smt_s"], HEADS["mask-rcnn"]
    other_task = arch.model_copy(update={"image_size": 64, "num_classes": 7})
    assert count_task(other_task, head).published is not None
    assert count_task(arch, head, MaskRCNNConfig(classes=11)).published is None
    assert count_task(PRESETS["smt_t"], head).published is None


def test_widths_of_a_head_are_counted():
    """By hand, over a pyramid of 1 channel on a map of 2x2, the others empty of channels."""
    arch = PRESETS["smt_t"]
    size = (32, 32)
    few = count_task(arch, HEADS["retinanet"], RetinaNetConfig(classes=1, neck=1, convs=1), size)
    params = {part.name: part.params for part in few.parts}
    # laterals of 128, 256, 512; three 3x3; P6 of 512; P7
    assert params["feature pyramid"] == (129 + 257 + 513) + 3 * 10 + (9 * 512 + 1) + 10
    assert params["classes"] == 10 + 9 * 10
    assert params["boxes"] == 10 + 36 * 10
    small = count_task(arch, HEADS["upernet"], UPerNetConfig(classes=2, channels=1, aux=1), size)
    aux = small.parts[-1]
    assert (aux.params, aux.macs) == (9 * 256 + 2 + 2 + 2, 0)
    assert aux.training_macs == 4 * (9 * 256 + 2)  # 2x2 positions


def test_heads_are_found_by_task():
    assert find_head("detect") is HEADS["mask-rcnn"]
    assert find_head("segment") is HEADS["upernet"]
    assert find_head("detect", "retinanet") is HEADS["retinanet"]
    with pytest.raises(ConfigError, match=r"must be a head of segment: upernet .*--task detect"):
        find_head("segment", "mask-rcnn")
    with pytest.raises(UnknownName, match="Did you mean 'retinanet'"):
        find_head("detect", "retinnet")
    with pytest.raises(UnknownName, match="No task named 'classify'"):
        find_head("classify")


@pytest.mark.parametrize("size", [(31, 800), (800, 9000)])
def test_a_size_that_no_network_takes_is_refused(size):
    with pytest.raises(ConfigError, match=r"must be from 32 to 8192 px \(got "):
        count_task(PRESETS["smt_t"], HEADS["upernet"], input_size=size)
