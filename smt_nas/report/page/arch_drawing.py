"""A drawing of an architecture: a row of blocks for each stage, as SVG in the page's colours.

SAM blocks are told from MSA blocks by colour and by letter. A block is as tall as its width is
large (by its logarithm), so that wide stages look wide.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from itertools import groupby

from smt_nas.arch import Architecture, Stage

_WIDTH = 360.0  # of the drawing, in its own units
_BLOCK, _GAP = 14.0, 3.0  # width of a block, and between two
LETTERS = {"sam": "S", "msa": "A"}
"""Of the blocks: modulation and attention."""
_LETTERED = 9.0  # least width of a block with a letter in it
_TEXT, _SMALL = 13.0, 11.0
_LINE = 16.0


def draw_architecture(arch: Architecture, title: str) -> str:
    """An SVG element, as wide as there is room.

    Args:
        arch: the network.
        title: what it is called, told to those who cannot see it, with the stages in words.
    """
    parts, top = [_text(0, _LINE - 4, _describe_stem(arch), _TEXT)], _LINE + 6
    side = arch.image_size // arch.stem.stride
    for number, stage in enumerate(arch.stages, 1):
        drawn, height = _draw_stage(number, stage, side, top)
        parts += drawn
        top += height
        side = (side + 1) // 2
    head = f"mean over positions, linear to {arch.num_classes:,} classes"
    parts.append(_text(0, top + _LINE - 4, head, _TEXT))
    words = html.escape(f"{title}: {describe_architecture(arch)}")
    return (
        f'<svg class="network" viewBox="0 0 {_WIDTH:g} {top + _LINE + 2:g}" role="img" '
        f'aria-label="{words}">{"".join(parts)}</svg>'
    )


def describe_architecture(arch: Architecture) -> str:
    """The four stages in one line: `64 x2 S | 128 x2 S | 256 x8 SASASASA | 512 x1 A`."""
    return " | ".join(f"{stage.dim} x{stage.depth} {_spell_mixers(stage)}" for stage in arch.stages)


def _spell_mixers(stage: Stage) -> str:
    """`S` where all blocks are SAM, `SASA` where they take turns, `12S 4A` where that is long."""
    letters = [LETTERS[mixer] for mixer in stage.mixers]
    if len(set(letters)) == 1:
        return letters[0]
    runs = [(letter, len(list(run))) for letter, run in groupby(letters)]
    spelled = " ".join(f"{count}{letter}" for letter, count in runs)
    return min("".join(letters), spelled, key=len)


def _describe_stem(arch: Architecture) -> str:
    size = arch.image_size
    return (
        f"image {size} x {size}, stem {arch.stem.kernel} x {arch.stem.kernel}, / {arch.stem.stride}"
    )


def _draw_stage(number: int, stage: Stage, side: int, top: float) -> tuple[list[str], float]:
    """Its elements, and how tall they are."""
    heading = f"stage {number}: {stage.dim} channels, {side} x {side}"
    parts = [_text(0, top + _LINE - 4, heading, _TEXT)]
    details = list(_list_details(stage))
    parts += [
        _text(0, top + _LINE * (i + 2) - 4, line, _SMALL, "detail")
        for i, line in enumerate(details)
    ]
    blocks_top = top + _LINE * (1 + len(details)) + 2
    height = _block_height(stage.dim)
    pitch = min(_BLOCK + _GAP, _WIDTH / stage.depth)
    wide = pitch - min(_GAP, pitch / 4)
    for i, mixer in enumerate(stage.mixers):
        x = i * pitch
        parts.append(
            f'<rect class="{mixer}" x="{x:.1f}" y="{blocks_top:g}" width="{wide:.1f}" '
            f'height="{height:.1f}" rx="1.5"/>'
        )
        if wide >= _LETTERED:
            middle, low = x + wide / 2, blocks_top + height / 2 + 3.5
            parts.append(
                f'<text class="letter" x="{middle:.1f}" y="{low:.1f}" font-size="10" '
                f'text-anchor="middle">{LETTERS[mixer]}</text>'
            )
    return parts, blocks_top + height + 10 - top


def _list_details(stage: Stage) -> Iterator[str]:
    """What the blocks of the stage are made of, in lines."""
    sam, msa = (stage.mixers.count(mixer) for mixer in ("sam", "msa"))
    if sam:
        kernels = ", ".join(map(str, stage.kernels))
        yield f"{sam} SAM (S): kernels {kernels}; expand x{stage.expand_ratio}"
    if msa:
        yield f"{msa} MSA (A): {stage.heads} heads of {stage.head_dim}"
    yield f"FFN x{stage.mlp_ratio:g}, kernel {stage.ffn_kernel}"


def _block_height(dim: int) -> float:
    return 10.0 + 4.0 * max(math.log2(dim / 8), 0.0)


def _text(x: float, y: float, words: str, size: float, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:g}" y="{y:g}" font-size="{size:g}">{html.escape(words)}</text>'
