"""How often each choice that has weights of its own was trained.

A width or a ratio is a prefix of what is trained in every step. But which mixer stands in a block,
which kernels and how many heads a stage has, choose tensors that rest while others are trained.
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
        for choice in sorted({choice for arch in archs for choice in list_choices(arch)}):
            self.counts[choice] = self.counts.get(choice, 0) + 1

    def find_share(self, choice: str) -> float:
        """Share of the steps that trained a choice; 0 before the first."""
        return self.counts.get(choice, 0) / self.steps if self.steps else 0.0

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
        """From `to_dict`."""
        counts = values["counts"]
        assert isinstance(counts, Mapping)
        return cls(int(str(values["steps"])), {str(k): int(v) for k, v in counts.items()})


def list_choices(arch: Architecture) -> list[str]:
    """The choices of a network that have weights of their own."""
    choices = [f"stem kernel {arch.stem.kernel}"]
    for i, stage in enumerate(arch.stages, 1):
        choices += [f"stage{i} block {j} {mixer}" for j, mixer in enumerate(stage.mixers, 1)]
        if "sam" in stage.mixers:
            choices += [f"stage{i} kernel {k}" for k in stage.kernels]
            choices.append(f"stage{i} heads {len(stage.kernels)}")
        choices.append(f"stage{i} ffn kernel {stage.ffn_kernel}")
    return choices


def list_space_choices(space: SearchSpace) -> list[str]:
    """The choices of all networks of a space."""
    choices = [f"stem kernel {k}" for k in sorted(space.config.stem.kernel)]
    for i, (options, patterns) in enumerate(
        zip(space.config.stages, space.patterns, strict=True), 1
    ):
        orders = [order for by_depth in patterns.first for order in by_depth]
        choices += sorted({f"stage{i} block {j} {m}" for o in orders for j, m in enumerate(o, 1)})
        if any("sam" in order for order in orders):
            choices += _list_kernels(i, options.kernels)
        choices += [f"stage{i} ffn kernel {k}" for k in sorted(options.ffn_kernel)]
    return choices


def _list_kernels(stage: int, sets: Iterable[tuple[int, ...]]) -> Iterator[str]:
    sets = list(sets)
    yield from (f"stage{stage} kernel {k}" for k in sorted({k for s in sets for k in s}))
    yield from (f"stage{stage} heads {h}" for h in sorted({len(s) for s in sets}))
