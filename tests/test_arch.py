"""Architectures: the published facts, the order of blocks, equality by key, and refusals."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smt_nas.arch import (
    PRESETS,
    SCHEMA,
    Architecture,
    Stage,
    Stem,
    arrange_mixers,
    load_arch,
    preset,
)
from smt_nas.arch import published_drop_path as drop_path_rule
from smt_nas.errors import ConfigError, StoreError, UnknownName
from smt_nas.yaml import validated

CONFIGS = Path(__file__).parent / "data" / "model_configs"

# Published code of arXiv 2307.08579: its model configs
FACTS = {  # dims, depths, MLP ratios, stem kernel, head dim, drop path
    "smt_t": ((64, 128, 256, 512), (2, 2, 8, 1), (4, 4, 4, 2), 3, 32, 0.1),
    "smt_s": ((64, 128, 256, 512), (3, 4, 18, 2), (4, 4, 4, 2), 3, 32, 0.2),
    "smt_b": ((64, 128, 256, 512), (4, 6, 28, 2), (8, 6, 4, 2), 7, 32, 0.3),
    "smt_l": ((96, 192, 384, 768), (4, 6, 28, 4), (8, 6, 4, 2), 7, 48, 0.4),
}

BLOCKS = {  # depth, share, stacking -> blocks, c = SAM, a = MSA
    (8, 0.5, "alternate"): "cacacaca",
    (5, 0.5, "alternate"): "cacac",
    (1, 0.5, "alternate"): "c",
    (3, 0.33, "alternate"): "cca",
    (3, 0.67, "alternate"): "caa",
    (4, 0.25, "alternate"): "ccca",
    (4, 0.75, "alternate"): "caaa",
    (4, 0.0, "alternate"): "cccc",
    (4, 1.0, "alternate"): "aaaa",
    (8, 0.5, "tail"): "ccccaaaa",
    (5, 0.5, "tail"): "cccaa",
    (1, 0.5, "tail"): "c",
    (3, 0.33, "tail"): "cca",
    (4, 0.0, "tail"): "cccc",
    (4, 1.0, "tail"): "aaaa",
}

REFUSED = [  # path, value -> what the message says after `net.yaml: `
    (("stages", 0, "dim"), 66, r"stages\[0\]: dim must be divisible by the number of kernels "
     r"\(got dim=66, 4 kernels\). Use 64 or 68"),
    (("stages", 0, "dim"), 3, r"Use 4\.$"),
    (("stages", 3, "dim"), 500, r"divisible by head_dim \(got dim=500, head_dim=32\). "
     r"Use 480 or 512"),
    (("stages", 0, "dim"), "64", r"stages\[0\].dim must be a valid integer \(got '64'\)"),
    (("stages", 0, "dim"), True, r"stages\[0\].dim must be a valid integer \(got True\)"),
    (("stages", 0, "dim"), 0, "greater than or equal to 1"),
    (("stages", 0, "dim"), 10**9, "less than or equal to"),
    (("stages", 0, "depth"), 2.0, r"stages\[0\].depth must be a valid integer"),
    (("stages", 0, "depth"), None, r"\(got None\)"),
    (("stages", 0, "kernels"), [], r"1 to 8 kernel sizes \(got 0\)"),
    (("stages", 0, "kernels"), list(range(1, 19, 2)), r"1 to 8 kernel sizes \(got 9\)"),
    (("stages", 0, "kernels"), [3, 4], r"odd sizes \(got \[3, 4\]\)"),
    (("stages", 0, "kernels"), [3, 3], r"distinct sizes \(got \[3, 3\]\)"),
    (("stages", 0, "kernels"), 3, r"stages\[0\].kernels must be a valid tuple"),
    (("stages", 0, "kernels", 0), "3", r"stages\[0\].kernels\[0\] must be a valid integer"),
    (("stages", 0, "mlp_ratio"), 0.001, "leaves no hidden channel"),
    (("stages", 0, "mlp_ratio"), float("nan"), "greater than 0|finite"),
    (("stages", 0, "mlp_ratio"), float("inf"), "less than or equal|finite"),
    (("stages", 0, "attention_ratio"), 1.5, r"attention_ratio must be less than or equal to 1"),
    (("stages", 0, "stacking"), "tial", r"stacking must be 'alternate' or 'tail' \(got 'tial'\)"),
    (("stages", 0, "depht"), 2, "is not a known field. Did you mean 'depth'"),
    (("stages",), [], "stages"),
    (("stem", "kernel"), 4, "stem.kernel must be 3, 5 or 7"),
    (("stem", "stride"), 3, "stem.stride must be 2 or 4"),
    (("image_size",), 16, "image_size must be greater than or equal to 32"),
    (("num_classes",), 0, "num_classes"),
    (("layer_scale",), 0, "layer_scale must be greater than 0"),
    (("drop_path",), 1, "drop_path must be less than 1"),
    (("image_sise",), 224, "image_sise is not a known field. Did you mean 'image_size'"),
]  # fmt: skip


def stage_values() -> st.SearchStrategy[Stage]:
    """Stages whose width every kernel set and head size divides."""
    kernels = st.sets(st.sampled_from((3, 5, 7, 9)), min_size=1).filter(lambda k: len(k) != 3)
    return st.builds(
        Stage,
        dim=st.integers(1, 32).map(lambda n: 32 * n),
        depth=st.integers(1, 30),
        mlp_ratio=st.floats(0.5, 8),
        expand_ratio=st.integers(1, 4),
        kernels=kernels.map(lambda k: tuple(sorted(k))),
        attention_ratio=st.floats(0, 1),
        stacking=st.sampled_from(("alternate", "tail")),
        head_dim=st.sampled_from((16, 32)),
    )


def architectures() -> st.SearchStrategy[Architecture]:
    return st.builds(
        Architecture,
        image_size=st.integers(32, 512),
        num_classes=st.integers(1, 1000),
        stem=st.builds(Stem, kernel=st.sampled_from((3, 5, 7)), stride=st.sampled_from((2, 4))),
        stages=st.tuples(*[stage_values()] * 4),
        layer_scale=st.none() | st.floats(1e-6, 1),
        drop_path=st.floats(0, 0.9),
    )


def changed(name: str, fields: dict[str, object], stage: int | None = None) -> Architecture:
    """A preset with fields of its own, or of one stage, replaced."""
    data = PRESETS[name].model_dump()
    (data if stage is None else data["stages"][stage]).update(fields)
    return Architecture.model_validate(data)


@pytest.mark.parametrize("name", FACTS)
def test_presets_are_the_published_networks(name):
    arch = PRESETS[name]
    dims, depths, ratios, stem, head_dim, drop_path = FACTS[name]
    assert tuple(s.dim for s in arch.stages) == dims
    assert tuple(s.depth for s in arch.stages) == depths
    assert tuple(s.mlp_ratio for s in arch.stages) == ratios
    assert [set(s.mixers) for s in arch.stages] == [{"sam"}, {"sam"}, {"sam", "msa"}, {"msa"}]
    assert arch.stages[2].mixers == ("sam", "msa") * (depths[2] // 2)
    assert all(s.kernels == (3, 5, 7, 9) and s.expand_ratio == 2 for s in arch.stages)
    assert {s.head_dim for s in arch.stages[2:]} == {head_dim}
    assert [s.heads for s in arch.stages[2:]] == [8, 16]
    assert (arch.stem.kernel, arch.stem.stride, arch.drop_path) == (stem, 4, drop_path)
    assert (arch.image_size, arch.num_classes, arch.in_channels) == (224, 1000, 3)
    assert arch.layer_scale is None


def test_there_are_four_presets_and_their_keys_differ():
    assert list(PRESETS) == list(FACTS)
    keys = {a.key for a in PRESETS.values()}
    assert len(keys) == 4
    assert all(len(k) == 12 and int(k, 16) >= 0 for k in keys)


@pytest.mark.parametrize("name", FACTS)
def test_drop_path_rule_gives_the_published_rates(name):
    arch = PRESETS[name]
    assert drop_path_rule(arch.stages) == arch.drop_path


@pytest.mark.parametrize(("stage", "expected"), BLOCKS.items())
def test_blocks_are_spelled_out(stage, expected):
    spelled = {"sam": "c", "msa": "a"}
    assert "".join(spelled[m] for m in arrange_mixers(*stage)) == expected


@given(st.integers(1, 60), st.floats(0, 1))
def test_both_stackings_hold_the_same_number_of_attention_blocks(depth, share):
    alternate, tail = (
        arrange_mixers(depth, share, "alternate"),
        arrange_mixers(depth, share, "tail"),
    )
    assert len(alternate) == len(tail) == depth
    assert alternate.count("msa") == tail.count("msa")
    assert abs(tail.count("msa") - depth * share) <= 1


@given(st.integers(1, 60), st.floats(0, 1))
def test_tail_puts_attention_last(depth, share):
    assert list(arrange_mixers(depth, share, "tail")) == sorted(
        arrange_mixers(depth, share, "tail"), reverse=True
    )


@given(st.integers(1, 60), st.floats(0, 0.97))
def test_alternate_starts_with_sam(depth, share):
    assert arrange_mixers(depth, share, "alternate")[0] == "sam"


@given(architectures())
def test_yaml_round_trip(arch):
    """Fields of no effect are not written: they come back at their defaults."""
    again = validated(Architecture, yaml.safe_load(arch.to_yaml()), "net.yaml")
    assert (again.key, again.drop_path) == (arch.key, arch.drop_path)
    assert again.to_yaml() == arch.to_yaml()
    for ours, theirs in zip(arch.stages, again.stages, strict=True):
        for field in Stage.model_fields:
            if ours.acts(field):
                assert getattr(ours, field) == getattr(theirs, field)


def test_saved_file_loads_by_path(tmp_path):
    path = tmp_path / "net.yaml"
    PRESETS["smt_b"].save(path)
    assert load_arch(path) == load_arch(str(path)) == PRESETS["smt_b"] == load_arch("smt_b")
    assert load_arch(PRESETS["smt_b"]) is PRESETS["smt_b"]
    with pytest.raises(StoreError, match="cannot be written"):
        PRESETS["smt_b"].save(tmp_path / "no" / "net.yaml")


@pytest.mark.parametrize(
    ("stage", "fields"),
    [
        (3, {"kernels": (3,)}),  # stage 4 has no SAM block
        (3, {"expand_ratio": 4}),
        (3, {"stacking": "tail"}),
        (0, {"head_dim": 16}),  # stage 1 has no MSA block
        (0, {"stacking": "tail"}),
        (2, {"attention_ratio": 0.51}),
        (2, {"mlp_ratio": 4.0001}),
    ],
)
def test_key_ignores_what_has_no_effect(stage, fields):
    other = changed("smt_t", fields, stage)
    assert other != PRESETS["smt_t"]
    assert other.key == PRESETS["smt_t"].key


def test_key_ignores_drop_path():
    assert changed("smt_t", {"drop_path": 0.4}).key == PRESETS["smt_t"].key


def test_a_copy_with_other_fields_has_its_own_key_and_blocks():
    arch = PRESETS["smt_t"]
    assert arch.key
    copied = arch.model_copy(update={"layer_scale": 1e-4})
    assert copied.key == changed("smt_t", {"layer_scale": 1e-4}).key != arch.key
    assert arch.stages[0].mixers == ("sam", "sam")
    assert arch.stages[0].model_copy(update={"depth": 3}).mixers == ("sam", "sam", "sam")
    assert arch.model_copy(deep=True).key == copy.deepcopy(arch).key == arch.key


@pytest.mark.parametrize(
    ("stage", "fields"),
    [
        (0, {"kernels": (3,)}),
        (0, {"expand_ratio": 4}),
        (0, {"dim": 72}),
        (0, {"depth": 3}),
        (0, {"mlp_ratio": 3.0}),
        (2, {"stacking": "tail"}),
        (2, {"attention_ratio": 0.25}),
        (3, {"head_dim": 64}),
    ],
)
def test_key_tells_networks_apart(stage, fields):
    assert changed("smt_t", fields, stage).key != PRESETS["smt_t"].key


@pytest.mark.parametrize(
    "fields",
    [
        {"image_size": 384},
        {"num_classes": 10},
        {"in_channels": 1},
        {"layer_scale": 1e-4},
        {"stem": {"kernel": 5}},
        {"stem": {"stride": 2}},
    ],
)
def test_key_tells_networks_apart_outside_the_stages(fields):
    assert changed("smt_t", fields).key != PRESETS["smt_t"].key


def test_kernels_are_a_set_without_order():
    assert Stage(dim=64, depth=1, kernels=(9, 3)).kernels == (3, 9)


def test_values_are_frozen():
    arch = PRESETS["smt_t"]
    with pytest.raises(ValidationError, match="frozen"):
        arch.image_size = 384
    with pytest.raises(ValidationError, match="frozen"):
        arch.stages[0].dim = 128
    assert hash(arch) == hash(copy.deepcopy(arch))


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_refused_in_one_line(path, value, message):
    data = PRESETS["smt_t"].model_dump(mode="json")
    place = data
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=message) as caught:
        validated(Architecture, data, "net.yaml")
    assert str(caught.value).startswith("net.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named():
    with pytest.raises(ConfigError, match=r"net.yaml: stages is missing. Add it."):
        validated(Architecture, {"image_size": 224}, "net.yaml")


def test_widths_without_blocks_to_divide_them_are_free():
    assert Stage(dim=50, depth=1, attention_ratio=1.0, head_dim=25).mixers == ("msa",)
    assert Stage(dim=50, depth=1, kernels=(3, 5), head_dim=32).mixers == ("sam",)


def test_unknown_preset():
    with pytest.raises(UnknownName, match=r"No preset named 'smt_x'\. Known: smt_b, smt_l"):
        preset("smt_x")
    with pytest.raises(UnknownName, match="Did you mean 'smt_t'"):
        load_arch("smt_tt")


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize(("version", "key"), [(1, "8f7a2793d482"), (2, "d86e7b1140ec")])
def test_configs_of_each_schema_keep_loading(version, key, suffix):
    path = CONFIGS / f"schema-{version}.{suffix}"
    arch = load_arch(path)
    assert arch.key == key and arch.schema_version == version
    assert load_arch(str(path)) == arch


def test_there_is_a_config_of_each_schema():
    assert {p.stem for p in CONFIGS.iterdir()} == {f"schema-{v + 1}" for v in range(SCHEMA)}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (SCHEMA + 1, r"net.yaml: schema must be from 1 to 2 \(got 3\). It is of a newer smt-nas"),
        (0, r"\(got 0\). Leave it out"),
        ("1", r"\(got 1\). Leave it out"),
        (True, r"\(got True\). Leave it out"),
    ],
)
def test_a_config_of_another_schema_is_one_line(said, message, tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(yaml.safe_dump({"schema": said, **PRESETS["smt_t"].to_values()}))
    with pytest.raises(ConfigError, match=message):
        load_arch(path)
