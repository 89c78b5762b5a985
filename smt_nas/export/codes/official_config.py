"""The yacs YAML of the published SMT code (AFeng-x/SMT 11e954d, `config.py` and `configs/smt/`).

What that code can express, by its rules: SAM heads of kernels 3, 5, 7, ... (as many as
`CA_NUM_HEADS`), one expand ratio, stem kernel 3 or 7 of stride 4, and per stage either all SAM or
all MSA, except that in the third stage every second block is MSA.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from smt_nas.arch import Architecture, Mixer, Stage, Stem
from smt_nas.errors import ExportError
from smt_nas.export.manifest import Manifest
from smt_nas.fingerprint import added_fields
from smt_nas.yaml import read_yaml, to_yaml, validated

_NONE = -1  # the published code's word for "no heads of this kind"
_LAYER_SCALE = 1e-4  # fixed there


def official_yaml(arch: Architecture, name: str = "smt") -> str:
    """Express a network in the published code's config.

    Raises:
        ExportError: it cannot be expressed there; says why.
    """
    _check(arch)
    expand = {s.expand_ratio for s in arch.stages if "sam" in s.mixers}
    sam = [len(s.kernels) if "sam" in s.mixers else _NONE for s in arch.stages]
    msa = [s.heads if "msa" in s.mixers else _NONE for s in arch.stages]
    smt = {
        "IN_CHANS": arch.in_channels,
        "EMBED_DIMS": [s.dim for s in arch.stages],
        "CA_NUM_HEADS": sam,
        "SA_NUM_HEADS": msa,
        "MLP_RATIOS": [_plain(s.mlp_ratio) for s in arch.stages],
        "QKV_BIAS": True,
        "USE_LAYERSCALE": arch.layer_scale is not None,
        "DEPTHS": [s.depth for s in arch.stages],
        "CA_ATTENTIONS": [int(s.mixers[0] == "sam") for s in arch.stages],
        "HEAD_CONV": arch.stem.kernel,
        "EXPAND_RATIO": expand.pop() if expand else 2,
    }
    model = {
        "TYPE": "smt",
        "NAME": name,
        "NUM_CLASSES": arch.num_classes,
        "DROP_PATH_RATE": arch.drop_path,
        "SMT": smt,
    }
    return to_yaml({"DATA": {"IMG_SIZE": arch.image_size}, "MODEL": model})


class _Smt(BaseModel):
    """Block MODEL.SMT of a published config, in its own names."""

    in_channels: int = Field(alias="IN_CHANS")
    dims: list[int] = Field(alias="EMBED_DIMS")
    sam_heads: list[int] = Field(alias="CA_NUM_HEADS")
    msa_heads: list[int] = Field(alias="SA_NUM_HEADS")
    mlp_ratios: list[float] = Field(alias="MLP_RATIOS")
    layer_scale: bool = Field(alias="USE_LAYERSCALE")
    depths: list[int] = Field(alias="DEPTHS")
    sam_first: list[bool] = Field(alias="CA_ATTENTIONS")
    stem_kernel: int = Field(alias="HEAD_CONV")
    expand_ratio: int = Field(alias="EXPAND_RATIO")

    def stage(self, i: int) -> Stage:
        """Stage i, from 0: all SAM or all MSA, but every second block of the third is MSA."""
        first = "sam" if self.sam_first[i] else "msa"
        share = 1.0 if first == "msa" else 0.5 if i == 2 else 0.0
        sam, msa = self.sam_heads[i], self.msa_heads[i]
        fields: dict[str, object] = {
            "dim": self.dims[i],
            "depth": self.depths[i],
            "mlp_ratio": self.mlp_ratios[i],
            "attention_ratio": share,
        }
        if sam != _NONE:
            fields |= {
                "kernels": tuple(range(3, 3 + 2 * sam, 2)),
                "expand_ratio": self.expand_ratio,
            }
        return Stage.model_validate(
            fields if msa == _NONE else fields | {"head_dim": self.dims[i] // msa}
        )


class _Model(BaseModel):
    classes: int = Field(alias="NUM_CLASSES")
    drop_path: float = Field(alias="DROP_PATH_RATE")
    smt: _Smt = Field(alias="SMT")


class _Data(BaseModel):
    image_size: int = Field(alias="IMG_SIZE")


class _Config(BaseModel):
    data: _Data = Field(alias="DATA")
    model: _Model = Field(alias="MODEL")


def read_official_config(manifest: Manifest) -> Architecture:
    """The network that a config of the published code describes. Raises ConfigError."""
    path = manifest.files[0]
    config = validated(_Config, read_yaml(path), str(path))
    smt = config.model.smt
    fields = {
        "image_size": config.data.image_size,
        "num_classes": config.model.classes,
        "in_channels": smt.in_channels,
        "stem": Stem.model_validate({"kernel": smt.stem_kernel}),
        "stages": tuple(smt.stage(i) for i in range(len(smt.dims))),
        "layer_scale": _LAYER_SCALE if smt.layer_scale else None,
        "drop_path": config.model.drop_path,
    }
    return validated(Architecture, fields, str(path))


def _check(arch: Architecture) -> None:
    if arch.stem.stride != 4:
        _refuse("its stem always has stride 4", f"stride {arch.stem.stride}")
    if arch.stem.kernel not in (3, 7):
        _refuse(
            "its stem pads kernels other than 3 and 7 wrongly", f"stem kernel {arch.stem.kernel}"
        )
    if arch.layer_scale not in (None, _LAYER_SCALE):
        _refuse("its layer scale always starts at 1e-4", f"{arch.layer_scale}")
    if len({s.expand_ratio for s in arch.stages if "sam" in s.mixers}) > 1:
        ratios = [s.expand_ratio for s in arch.stages]
        _refuse("it has one expand ratio for all stages", f"{ratios}")
    for i, stage in enumerate(arch.stages, 1):
        _check_stage(i, stage)


def _check_stage(number: int, stage: Stage) -> None:
    for field, published in added_fields(Stage).items():
        value = getattr(stage, field)
        if stage.acts(field) and value != published:
            _refuse(f"its {field} is always {published}", f"{value} in stage {number}")
    official = tuple(range(3, 3 + 2 * len(stage.kernels), 2))
    if "sam" in stage.mixers and stage.kernels != official:
        rule = f"the kernels of n heads are 3, 5, 7, ..., here {list(official)}"
        _refuse(rule, f"{list(stage.kernels)} in stage {number}")
    first = stage.mixers[0]
    expected: tuple[Mixer, ...] = (first,) * stage.depth
    if number == 3:
        expected = tuple("msa" if j % 2 else first for j in range(stage.depth))
    if stage.mixers != expected:
        rule = (
            "every second block of the third stage is MSA"
            if number == 3
            else "all blocks of a stage but the third are alike"
        )
        _refuse(rule, f"{' '.join(stage.mixers)} in stage {number}")


def _refuse(rule: str, got: str) -> None:
    raise ExportError(
        f"the published code cannot express this network: {rule} (got {got}). Use --format yaml."
    )


def _plain(ratio: float) -> float:
    """4.0 as 4: the published configs hold integers."""
    return int(ratio) if ratio.is_integer() else ratio
