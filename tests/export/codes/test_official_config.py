"""The published code's config: it says what was published, or refuses with the reason."""

import pytest
from yacs.config import CfgNode

from smt_nas.arch import PRESETS
from smt_nas.errors import ExportError
from smt_nas.export.codes.official_config import official_yaml

# AFeng-x/SMT 11e954d, config.py: the keys that it knows, with its defaults' types
PUBLISHED_KEYS = {
    "DATA": {"IMG_SIZE": 224},
    "MODEL": {
        "TYPE": "",
        "NAME": "",
        "NUM_CLASSES": 1000,
        "DROP_PATH_RATE": 0.1,
        "SMT": {
            "IN_CHANS": 3,
            "EMBED_DIMS": [],
            "CA_NUM_HEADS": [],
            "SA_NUM_HEADS": [],
            "MLP_RATIOS": [],
            "QKV_BIAS": False,
            "USE_LAYERSCALE": False,
            "DEPTHS": [],
            "CA_ATTENTIONS": [],
            "HEAD_CONV": 0,
            "EXPAND_RATIO": 0,
        },
    },
}
SMALL, LARGE = [64, 128, 256, 512], [96, 192, 384, 768]
PUBLISHED = {  # its configs/smt/*.yaml: dims, depths, MLP ratios, stem kernel, drop path
    "smt_t": (SMALL, [2, 2, 8, 1], [4, 4, 4, 2], 3, 0.1),
    "smt_s": (SMALL, [3, 4, 18, 2], [4, 4, 4, 2], 3, 0.2),
    "smt_b": (SMALL, [4, 6, 28, 2], [8, 6, 4, 2], 7, 0.3),
    "smt_l": (LARGE, [4, 6, 28, 4], [8, 6, 4, 2], 7, 0.4),
}


def changed(arch, **by_stage):
    """`arch` with fields of stages replaced: stage3={"depth": 4}."""
    data = arch.model_dump(mode="json")
    for name, fields in by_stage.items():
        data["stages"][int(name.removeprefix("stage")) - 1] |= fields
    return type(arch).model_validate(data)


def with_fields(arch, **fields):
    return type(arch).model_validate({**arch.model_dump(), **fields})


@pytest.mark.parametrize("name", PRESETS)
def test_official_yaml_is_the_published_one(name):
    dims, depths, ratios, stem, drop_path = PUBLISHED[name]
    arch = PRESETS[name]
    if name == "smt_l":  # its published YAML has layer scale, its function has not
        arch = with_fields(arch, layer_scale=1e-4)
    config = CfgNode(PUBLISHED_KEYS)
    config.merge_from_other_cfg(CfgNode.load_cfg(official_yaml(arch, name)))
    assert config.DATA.IMG_SIZE == 224
    model, smt = config.MODEL, dict(config.MODEL.SMT)
    said = (model.TYPE, model.NAME, model.NUM_CLASSES, model.DROP_PATH_RATE)
    assert said == ("smt", name, 1000, drop_path)
    assert smt == {
        "IN_CHANS": 3,
        "EMBED_DIMS": dims,
        "CA_NUM_HEADS": [4, 4, 4, -1],
        "SA_NUM_HEADS": [-1, -1, 8, 16],
        "MLP_RATIOS": ratios,
        "QKV_BIAS": True,
        "USE_LAYERSCALE": name == "smt_l",
        "DEPTHS": depths,
        "CA_ATTENTIONS": [1, 1, 1, 0],
        "HEAD_CONV": stem,
        "EXPAND_RATIO": 2,
    }


T = PRESETS["smt_t"]


@pytest.mark.parametrize(
    ("arch", "reason"),
    [
        (with_fields(T, stem={"kernel": 5, "stride": 4}), r"stem kernel 5"),
        (with_fields(T, stem={"kernel": 3, "stride": 2}), r"stride 2"),
        (with_fields(T, layer_scale=1e-5), r"1e-05"),
        (changed(T, stage1={"kernels": [5]}), r"here \[3\] \(got \[5\] in stage 1"),
        (changed(T, stage2={"kernels": [3, 5, 7, 11]}), r"\[3, 5, 7, 11\] in stage 2"),
        (changed(T, stage1={"expand_ratio": 1}), r"one expand ratio"),
        (changed(T, stage3={"stacking": "tail"}), r"every second block of the third stage"),
        (changed(T, stage3={"attention_ratio": 0.25}), r"every second block of the third stage"),
        (changed(T, stage2={"attention_ratio": 0.5}), r"stage but the third are alike"),
        (changed(T, stage4={"ffn_kernel": 5}), r"its ffn_kernel is always 3 \(got 5 in stage 4"),
    ],
)
def test_official_yaml_is_refused_with_the_reason(arch, reason):
    with pytest.raises(ExportError, match=reason) as caught:
        official_yaml(arch, "x")
    assert "Use --format yaml" in str(caught.value)
