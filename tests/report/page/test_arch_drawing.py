"""A drawing shows every block of every stage, by letter too."""

import re

import pytest

from smt_nas.arch import PRESETS, Stage
from smt_nas.report.page.arch_drawing import describe_architecture, draw_architecture


def count(pattern, text):
    return len(re.findall(pattern, text))


@pytest.mark.parametrize("name", PRESETS)
def test_every_block_is_drawn_in_its_kind(name):
    arch = PRESETS[name]
    drawn = draw_architecture(arch, name)
    for mixer in ("sam", "msa"):
        blocks = sum(stage.mixers.count(mixer) for stage in arch.stages)
        assert count(f'<rect class="{mixer}"', drawn) == blocks
    assert (drawn.startswith('<svg class="network"') and f'aria-label="{name}: 64 x' in drawn) or (
        name == "smt_l"
    )
    for number, (stage, side) in enumerate(zip(arch.stages, (56, 28, 14, 7), strict=True), 1):
        assert f"stage {number}: {stage.dim} channels, {side} x {side}" in drawn


def test_blocks_stay_within_the_drawing_however_many_there_are():
    stages = tuple(Stage(dim=64, depth=depth) for depth in (1, 21, 90, 256))
    drawn = draw_architecture(PRESETS["smt_t"].model_copy(update={"stages": stages}), "deep")
    ends = [
        float(x) + float(w)
        for x, w in re.findall(r'x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn)
    ]
    assert len(ends) == 368 and max(ends) <= 360
    letters = count('class="letter"', drawn)
    assert letters == 22  # those of blocks that are wide enough


def test_a_title_is_escaped():
    assert "<b>" not in draw_architecture(PRESETS["smt_t"], "<b>")


def test_the_stages_in_one_line():
    assert (
        describe_architecture(PRESETS["smt_t"]) == "64 x2 S | 128 x2 S | 256 x8 SASASASA | 512 x1 A"
    )
    tail = Stage(dim=64, depth=12, attention_ratio=0.25, stacking="tail")
    stages = (*PRESETS["smt_t"].stages[:3], tail)
    arch = PRESETS["smt_t"].model_copy(update={"stages": stages})
    assert describe_architecture(arch).endswith(" | 64 x12 9S 3A")
