"""What a store of a space holds, and which spaces and networks it refuses."""

import pytest
from pydantic import ValidationError

from smt_nas.errors import ConfigError
from smt_nas.models.supernet import StageMaxima, SupernetSpec
from smt_nas.space import SearchSpace
from tests.fakes.supernets import draw_archs, make_space


def _maxima(**changes):
    values = {"dims": [8, 12], "hidden": 16, "expand_ratio": 2, "ffn_kernels": [3]}
    return StageMaxima.model_validate(
        {**values, "kernels": [[3, 5]], "slots": [["sam"]], **changes}
    )


def test_a_space_of_too_wide_a_range_is_refused_unless_forced():
    space = SearchSpace.load("smt_micro")
    with pytest.raises(ConfigError, match=r"at most 16 times the MACs .* \(got 22\.1 times\)"):
        SupernetSpec.for_space(space)
    assert SupernetSpec.for_space(space, force=True).space == space.digest


def test_it_holds_the_largest_options_of_each_stage():
    stage = SupernetSpec.for_space(make_space(), force=True).stages[2]
    assert (stage.dim, stage.depth, stage.hidden, stage.expand_ratio) == (32, 3, 64, 2)
    assert stage.slots == (("sam", "msa"),) * 3
    assert SupernetSpec.for_space(make_space(), force=True).stages[0].slots[0] == ("sam",)


def test_the_head_is_of_the_data():
    spec = SupernetSpec.for_space(make_space(), num_classes=7, force=True)
    (arch,) = draw_archs(make_space(), 1)
    assert spec.adapt(arch).num_classes == 7
    with pytest.raises(ConfigError, match="num_classes must be 7"):
        spec.check(arch)


def test_fractional_expand_ratios_are_refused():
    with pytest.raises(ValidationError, match="expand_ratio"):
        _maxima(expand_ratio=1.5)


def test_kernel_sets_that_do_not_divide_a_width_are_refused():
    with pytest.raises(ValidationError, match=r"must divide every width .*\[3, 5, 7\] and width 8"):
        _maxima(kernels=[[3, 5, 7]])


def test_networks_of_another_space_are_refused():
    spec = SupernetSpec.for_space(make_space(), force=True)
    (arch,) = draw_archs(make_space(), 1)
    wide = arch.stages[0].model_copy(update={"dim": 48})
    with pytest.raises(ConfigError, match=r"stage1\.dim must be one of 8, 16 \(got 48\)"):
        spec.check(arch.model_copy(update={"stages": (wide, *arch.stages[1:])}))


def test_it_survives_json():
    spec = SupernetSpec.for_space(make_space(layer_scale=1e-4), force=True)
    assert SupernetSpec.model_validate_json(spec.model_dump_json()) == spec
