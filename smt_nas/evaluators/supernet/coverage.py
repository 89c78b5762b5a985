"""How often each choice that has weights of its own was trained.

Which mixer stands in a block, its kernels and how many heads it has choose tensors that rest while
others are trained. A width is a prefix of the wider ones: it is trained where one as wide is, which
within a range of MACs may be seldom.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from smt_nas.arch import Architecture
from smt_nas.space import SearchSpace

LEAST_SHARE = 0.01
"""Of the steps, in which a choice must have been trained for its networks to be rated."""
THIN_SHARE = 0.05
"""Of the steps; where a choice of a network was trained in fewer, its intervals are wider."""


@dataclass
class Coverage:
    """Counts over the steps of a training.

    Attributes:
        steps: that trained.
        counts: of them, in how many a choice was trained, by its name.
    """

    steps: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, archs: Iterable[Architecture]) -> None:
        """Count a step that trained these networks."""
        self.steps += 1
        networks = list(archs)
        widest = [
            max(dims) for dims in zip(*((s.dim for s in a.stages) for a in networks), strict=True)
        ]
        trained = {choice for arch in networks for choice in list_choices(arch)}
        trained = {choice for choice in trained if _split_width(choice) is None}
        trained |= {f"stage{i} width {dim}" for i, dim in enumerate(widest, 1)}
        for choice in sorted(trained):
            self.counts[choice] = self.counts.get(choice, 0) + 1

    def find_share(self, choice: str) -> float:
        """Share of the steps that trained a choice; 0 before the first.

        The first channels of a wider stage are those of a narrower one, so they count for it.
        """
        if not self.steps:
            return 0.0
        width = _split_width(choice)
        if width is None:
            return self.counts.get(choice, 0) / self.steps
        as_wide = (_split_width(other) for other in self.counts)
        wide = [w for w in as_wide if w is not None and w[0] == width[0] and w[1] >= width[1]]
        return sum(self.counts[f"{stage} width {number}"] for stage, number in wide) / self.steps

    def find_rare(self, arch: Architecture, least: float = LEAST_SHARE) -> dict[str, float]:
        """Choices of a network that were trained in a smaller share of the steps, each with it."""
        shares = {choice: self.find_share(choice) for choice in list_choices(arch)}
        return {choice: share for choice, share in shares.items() if share < least}

    def find_least_share(self, arch: Architecture) -> float:
        """Share of the steps that trained the rarest choice of a network."""
        return min(map(self.find_share, list_choices(arch)))

    def find_widening(self, arch: Architecture) -> float:
        """Factor by which the intervals of a network's figures are wider than their images say.

        1 where each choice was trained in `THIN_SHARE` of the steps; else sqrt(THIN_SHARE / share)
        of the rarest: what chance leaves in weights falls as the square root of the steps that
        trained them. At `LEAST_SHARE` it is 2.2.
        """
        share = self.find_least_share(arch)
        return 1.0 if share >= THIN_SHARE else math.sqrt(THIN_SHARE / max(share, LEAST_SHARE))

    def find_rare_in(self, space: SearchSpace, least: float = LEAST_SHARE) -> dict[str, float]:
        """Choices of a space that were trained in a smaller share of the steps, each with it."""
        shares = {choice: self.find_share(choice) for choice in list_space_choices(space)}
        return {choice: share for choice, share in shares.items() if share < least}

    def find_thin_in(self, space: SearchSpace) -> dict[str, float]:
        """Choices of a space whose networks are rated with wider intervals, each with its share."""
        rare = self.find_rare_in(space, THIN_SHARE)
        return {choice: share for choice, share in rare.items() if share >= LEAST_SHARE}

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return {"steps": self.steps, "counts": dict(self.counts)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Coverage:
        """From `to_dict`. Raises ValueError: they are not from there."""
        steps, counts = values.get("steps"), values.get("counts")
        if not isinstance(counts, Mapping) or not all(
            isinstance(number, int) and number >= 0 for number in (steps, *counts.values())
        ):
            raise ValueError("must hold steps and counts, whole numbers from 0.")
        return cls(int(str(steps)), {str(name): int(count) for name, count in counts.items()})


def list_choices(arch: Architecture) -> list[str]:
    """The choices of a network that have weights of their own, and the widths of its stages."""
    choices = [f"stem kernel {arch.stem.kernel}"]
    for i, stage in enumerate(arch.stages, 1):
        choices.append(f"stage{i} width {stage.dim}")
        for j, mixer in enumerate(stage.mixers, 1):
            choices += _list_block(i, j, mixer, [stage.kernels], [stage.ffn_kernel])
    return choices


def list_space_choices(space: SearchSpace) -> list[str]:
    """The choices of all networks of a space."""
    choices = [f"stem kernel {k}" for k in sorted(space.config.stem.kernel)]
    for i, (options, patterns) in enumerate(
        zip(space.config.stages, space.patterns, strict=True), 1
    ):
        choices += [f"stage{i} width {dim}" for dim in sorted(options.dim)]
        orders = [order for by_depth in patterns.first for order in by_depth]
        for j, mixer in sorted({(j, m) for order in orders for j, m in enumerate(order, 1)}):
            choices += _list_block(i, j, mixer, options.kernels, options.ffn_kernel)
    return choices


def _list_block(
    stage: int,
    block: int,
    mixer: str,
    kernels: Iterable[tuple[int, ...]],
    ffn_kernels: Iterable[int],
) -> Iterator[str]:
    """What a block chooses; a choice of its mixer is named where the mixer has some."""
    name, sets = f"stage{stage} block {block}", list(kernels)
    yield f"{name} {mixer}"
    if mixer == "sam":
        yield from (f"{name} kernel {k}" for k in sorted({k for s in sets for k in s}))
        yield from (f"{name} heads {h}" for h in sorted({len(s) for s in sets}))
    yield from (f"{name} ffn kernel {k}" for k in sorted(ffn_kernels))


def _split_width(choice: str) -> tuple[str, int] | None:
    """`stage1 width 32` as its stage and number; None of another choice."""
    stage, is_width, width = choice.partition(" width ")
    return (stage, int(width)) if is_width else None
