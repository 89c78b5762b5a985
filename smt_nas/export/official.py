"""The yacs YAML of the published SMT code (AFeng-x/SMT 11e954d, `config.py` and `configs/smt/`).

What that code can express, by its rules: SAM heads of kernels 3, 5, 7, ... (as many as
`CA_NUM_HEADS`), one expand ratio, stem kernel 3 or 7 of stride 4, and per stage either all SAM or
all MSA, except that in the third stage every second block is MSA.
"""

from __future__ import annotations

from smt_nas.arch import Architecture, Mixer, Stage
from smt_nas.errors import ExportError
from smt_nas.yaml import to_yaml

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
