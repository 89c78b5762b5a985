"""`SearchSpace`: genes (n, G) ⇄ architectures, vectorised over n and free of torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import (
    ONLY_IN,
    Architecture,
    Mixer,
    Stage,
    Stem,
    arrange_mixers,
    published_drop_path,
)
from smt_nas.errors import SpaceError
from smt_nas.files import find_yaml
from smt_nas.fingerprint import added_fields, fingerprint
from smt_nas.space.patterns import ORDER, Genes, Patterns
from smt_nas.space.space_config import SpaceConfig, StageOptions
from smt_nas.yaml import read_yaml, validated


@dataclass(frozen=True)
class Gene:
    """A named choice: `options[g]` is what the integer g means."""

    name: str
    options: tuple[Any, ...]


class SearchSpace:
    """A set of architectures as integer genes (n, G).

    Attributes:
        name: the file's stem, e.g. `smt`.
        config: what the YAML says.
        genes: G `Gene`s in column order: `stem.kernel`, `stage1.dim`, `stage1.depth`, ...
    """

    def __init__(self, config: SpaceConfig, name: str = "custom") -> None:
        self.name = name
        self.config = config
        genes = [Gene("stem.kernel", config.stem.kernel)]
        self._columns: list[dict[str, int]] = []  # of each stage, by field
        for i, options in enumerate(config.stages, 1):
            fields = _list_gene_fields(options)
            self._columns.append({field: len(genes) + j for j, field in enumerate(fields)})
            genes += [Gene(f"stage{i}.{field}", getattr(options, field)) for field in fields]
        self.genes = tuple(genes)
        self.cardinality = np.array([len(g.options) for g in self.genes])  # (G,)
        self._patterns = tuple(Patterns.of(options) for options in config.stages)

    @classmethod
    def load(cls, name_or_path: str | Path) -> SearchSpace:
        """Load a shipped space by name or a user's YAML by path.

        Raises:
            UnknownName: no such shipped space.
            ConfigError: the file cannot be read or breaks a rule.
        """
        path = find_yaml("search_spaces", name_or_path, "search space")
        return cls(validated(SpaceConfig, read_yaml(path), str(path)), path.stem)

    @property
    def digest(self) -> str:
        """12 hex digits of what the space allows; its description does not count."""
        return fingerprint(self.config.model_dump(mode="json", exclude={"description"}))

    @property
    def patterns(self) -> tuple[Patterns, ...]:
        """Block orders of each stage."""
        return self._patterns

    def column(self, stage: int, field: str) -> int:
        """Column of a stage's gene; `stage` from 0."""
        return self._columns[stage][field]

    def columns(self, stage: int) -> Mapping[str, int]:
        """Columns of all genes of a stage, by field; `stage` from 0.

        A field that was added later is a gene only where there is a choice.
        """
        return self._columns[stage]

    def values(
        self, genes: Genes, stage: int, field: str, read: Callable[[Any], float] = float
    ) -> NDArray[Any]:
        """What `read` makes of the options that (n, G) genes choose for a field, (n,)."""
        table = np.array([read(option) for option in getattr(self.config.stages[stage], field)])
        column = self._columns[stage].get(field)
        chosen = np.zeros(len(genes), dtype=np.int64) if column is None else genes[:, column]
        return np.asarray(table[chosen])

    @cached_property
    def size(self) -> int:
        """Number of distinct networks."""
        return len(self.config.stem.kernel) * prod(
            patterns.count(options)
            for patterns, options in zip(self._patterns, self.config.stages, strict=True)
        )

    def sample(self, rng: np.random.Generator, n: int) -> Genes:
        """Draw n canonical gene rows, each gene uniform over its options; rows may repeat."""
        return self.canonical(rng.integers(0, self.cardinality, (n, len(self.genes))))

    def check(self, genes: NDArray[Any]) -> Genes:
        """Return genes as int64 (n, G).

        Raises:
            SpaceError: not integers, not (n, G), or an option that does not exist.
        """
        array = np.asarray(genes)
        if array.ndim != 2 or array.shape[1] != len(self.genes) or array.dtype.kind not in "iu":
            raise SpaceError(
                f"space {self.name}: genes must be integers of shape (n, {len(self.genes)}) "
                f"(got {array.dtype} {array.shape})."
            )
        outside = (array < 0) | (array >= self.cardinality)
        if outside.any():
            row, col = (int(i) for i in np.argwhere(outside)[0])
            raise SpaceError(
                f"space {self.name}: gene {self.genes[col].name} must be 0.."
                f"{self.cardinality[col] - 1} (got {array[row, col]} in row {row})."
            )
        return array.astype(np.int64)

    def canonical(self, genes: NDArray[Any]) -> Genes:
        """Set genes without effect to their first option; (n, G) in and out."""
        out = self.check(genes)
        for i, patterns in enumerate(self._patterns):
            at = tuple(out[:, self.column(i, field)] for field in ORDER)
            share, stacking = patterns.share[at], patterns.stacking[at]  # `at` are views of `out`
            blocks = {"sam": patterns.sam[at], "msa": patterns.msa[at]}
            out[:, self.column(i, "attention_ratio")] = share
            out[:, self.column(i, "stacking")] = stacking
            for field, column in self.columns(i).items():
                if field in ONLY_IN:
                    out[:, column] *= blocks[ONLY_IN[field]] > 0
        return out

    def blocks(self, genes: Genes, stage: int) -> tuple[Genes, Genes]:
        """Numbers of SAM and of MSA blocks in a stage, each (n,)."""
        at = tuple(genes[:, self.column(stage, field)] for field in ORDER)
        return self._patterns[stage].sam[at], self._patterns[stage].msa[at]

    def decode(self, genes: NDArray[Any]) -> list[Architecture]:
        """Turn (n, G) genes into n architectures."""
        return [self._decode_row(row) for row in self.canonical(genes)]

    def _decode_row(self, row: Genes) -> Architecture:
        s1, s2, s3, s4 = (self._decode_stage(row, i) for i in range(4))
        config, stages = self.config, (s1, s2, s3, s4)
        drop_path = config.drop_path
        return Architecture(
            image_size=config.image_size,
            num_classes=config.num_classes,
            in_channels=config.in_channels,
            stem=Stem(kernel=config.stem.kernel[row[0]], stride=config.stem.stride),
            stages=stages,
            layer_scale=config.layer_scale,
            drop_path=published_drop_path(stages) if drop_path == "auto" else drop_path,
        )

    def _decode_stage(self, row: Genes, stage: int) -> Stage:
        options, columns = self.config.stages[stage], self.columns(stage)
        at = {f: row[columns[f]] if f in columns else 0 for f in StageOptions.model_fields}
        return _build_stage({field: getattr(options, field)[i] for field, i in at.items()})

    def stages(
        self, stage: int, fields: Sequence[str], mixer: Mixer | None = None
    ) -> Iterator[Stage]:
        """Stages of every combination of the options of `fields`, the last one changing fastest.

        All else has its first option; the blocks are of an order that has `mixer`, or nothing is
        yielded.
        """
        options = self.config.stages[stage]
        first = {field: getattr(options, field)[0] for field in StageOptions.model_fields}
        if mixer is not None:
            order = self._patterns[stage].with_mixer(mixer)
            if not order:
                return
            first |= {field: getattr(options, field)[i] for field, i in order.items()}
        for chosen in itertools.product(*(getattr(options, field) for field in fields)):
            yield _build_stage(first | dict(zip(fields, chosen, strict=True)))

    def encode(self, archs: Architecture | Sequence[Architecture]) -> Genes:
        """Turn architectures into canonical genes (n, G); `drop_path` is not compared.

        Raises:
            SpaceError: an architecture lies outside the space; says where.
        """
        archs = [archs] if isinstance(archs, Architecture) else archs
        rows = [self._encode_one(arch) for arch in archs]
        return self.canonical(np.array(rows, dtype=np.int64).reshape(-1, len(self.genes)))

    def _encode_one(self, arch: Architecture) -> list[int]:
        for field in ("image_size", "num_classes", "in_channels", "layer_scale"):
            self._index(field, (getattr(self.config, field),), getattr(arch, field))
        self._index("stem.stride", (self.config.stem.stride,), arch.stem.stride)
        row = [self._index("stem.kernel", self.config.stem.kernel, arch.stem.kernel)]
        rows = zip(self.config.stages, arch.stages, self._patterns, strict=True)
        for i, (options, stage, patterns) in enumerate(rows, 1):
            depth = self._index(f"stage{i}.depth", options.depth, stage.depth)
            known = patterns.first[depth]
            if stage.mixers not in known:
                raise SpaceError(
                    f"space {self.name}: stage{i} cannot stack its blocks as "
                    f"{' '.join(stage.mixers)}. Use another attention_ratio or stacking."
                )
            share, stacking = known[stage.mixers]
            chosen = {"depth": depth, "attention_ratio": share, "stacking": stacking}
            hidden = tuple(int(stage.dim * r) for r in options.mlp_ratio)
            chosen["mlp_ratio"] = self._index(f"stage{i} hidden width", hidden, stage.hidden)
            for field in StageOptions.model_fields:
                if field not in chosen and stage.acts(field):
                    allowed, value = getattr(options, field), getattr(stage, field)
                    chosen[field] = self._index(f"stage{i}.{field}", allowed, value)
            row += [chosen.get(field, 0) for field in self.columns(i - 1)]
        return row

    def _index(self, what: str, options: Sequence[Any], value: Any) -> int:
        if value not in options:
            allowed = ", ".join(map(str, options))
            raise SpaceError(f"space {self.name}: {what} must be one of {allowed} (got {value}).")
        return options.index(value)

    def contains(self, item: NDArray[Any] | Sequence[Architecture]) -> NDArray[np.bool_]:
        """Tell which gene rows (n, G), or which architectures, belong to the space; (n,) bool."""
        if isinstance(item, np.ndarray):
            if item.ndim != 2 or item.shape[1] != len(self.genes) or item.dtype.kind not in "iu":
                return np.zeros(len(item), dtype=bool)
            return np.asarray(((item >= 0) & (item < self.cardinality)).all(axis=1))
        return np.array([self._holds(arch) for arch in item], dtype=bool)

    def _holds(self, arch: Architecture) -> bool:
        try:
            self._encode_one(arch)
        except SpaceError:
            return False
        return True


def _list_gene_fields(options: StageOptions) -> list[str]:
    """Fields of a stage that are genes: all of schema 1, and of those added later the chosen."""
    added = added_fields(StageOptions)
    return [f for f in StageOptions.model_fields if f not in added or len(getattr(options, f)) > 1]


def _build_stage(values: dict[str, Any]) -> Stage:
    """Build a stage of one option a field; what has no effect keeps the defaults of `Stage`."""
    order = arrange_mixers(values["depth"], values["attention_ratio"], values["stacking"])
    acting = {f: v for f, v in values.items() if ONLY_IN.get(f, order[0]) in order}
    heads = acting.pop("heads", None)
    if heads is not None:
        acting["head_dim"] = values["dim"] // heads
    return Stage(**acting)
