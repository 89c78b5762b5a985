"""A field added to `Stage`: real wherever a network is read, and unseen while at its default."""

import json

import numpy as np
import pytest
import yaml

from smt_nas import PRESETS, SearchSpace, costs
from smt_nas.arch import Architecture, load_arch
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex
from smt_nas.devices.device import load_device
from smt_nas.errors import ConfigError, SpaceError
from smt_nas.evaluators import make_evaluator
from smt_nas.models import build
from smt_nas.profilers import count
from smt_nas.space import SpaceConfig
from smt_nas.yaml import to_yaml, validated
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import invoke

pytestmark = pytest.mark.usefixtures("short_screening")


STAGES = [
    {"dim": [16, 32], "depth": 1, "kernels": [3], "ffn_kernel": [3, 5]},
    {"dim": 32, "depth": [1, 2], "kernels": [3, 5], "ffn_kernel": 5},
    {"dim": 32, "depth": 2, "attention_ratio": [0, 0.5, 1], "kernels": [3], "heads": 4},
    {"dim": 64, "depth": 1, "attention_ratio": 1, "heads": 4, "ffn_kernel": [5, 3]},
]
CONFIG = {"image_size": 32, "num_classes": 10, "stem": {"stride": 2}, "stages": STAGES}


def space_of(*kernels):
    """The space with these options of the FFN's kernel in its stages; None: not mentioned."""
    stages = []
    for stage, options in zip(STAGES, kernels, strict=True):
        rest = {field: value for field, value in stage.items() if field != "ffn_kernel"}
        stages.append(rest if options is None else rest | {"ffn_kernel": options})
    return SearchSpace(SpaceConfig.model_validate(CONFIG | {"stages": stages}), "mine")


MINE = SearchSpace(SpaceConfig.model_validate(CONFIG), "mine")
PLAIN = space_of(None, None, None, None)


def with_kernels(arch, *kernels):
    pairs = zip(arch.stages, kernels, strict=True)
    stages = tuple(stage.model_copy(update={"ffn_kernel": kernel}) for stage, kernel in pairs)
    return arch.model_copy(update={"stages": stages})


def kernels(arch):
    return tuple(stage.ffn_kernel for stage in arch.stages)


class TestAtItsDefault:
    def test_a_network_is_the_one_it_was(self):
        arch = PRESETS["smt_t"]
        named = Architecture.model_validate_json(
            json.dumps(arch.model_dump(mode="json")).replace('"dim"', '"ffn_kernel": 3, "dim"')
        )
        assert (named, named.key, named.to_yaml()) == (arch, arch.key, arch.to_yaml())
        assert "ffn_kernel" not in arch.to_yaml()

    @pytest.mark.parametrize("options", [3, [3]])
    def test_a_space_is_the_one_it_was(self, options):
        space = space_of(options, None, options, None)
        assert space.digest == PLAIN.digest
        assert space.genes == PLAIN.genes and space.size == PLAIN.size
        rng = (np.random.default_rng(0) for _ in range(2))
        assert np.array_equal(space.sample(next(rng), 50), PLAIN.sample(next(rng), 50))

    def test_parts_keep_the_names_that_tables_know_them_by(self):
        assert not [
            name for name in map(str, PartIndex.of(PLAIN).parts) if "ffn" in name and "k" in name
        ]


class TestElsewhere:
    def test_a_network_is_another_and_its_config_says_so(self, tmp_path):
        arch = with_kernels(PRESETS["smt_t"], 3, 5, 3, 3)
        assert arch.key != PRESETS["smt_t"].key
        arch.save(tmp_path / "net.yaml")
        again = load_arch(tmp_path / "net.yaml")
        assert again == arch and again.key == arch.key
        told = [stage.get("ffn_kernel") for stage in yaml.safe_load(arch.to_yaml())["stages"]]
        assert told == [None, 5, None, None]

    def test_it_is_a_gene_only_where_there_is_a_choice(self):
        names = [gene.name for gene in MINE.genes if gene.name.endswith("ffn_kernel")]
        assert names == ["stage1.ffn_kernel", "stage4.ffn_kernel"]
        assert len(MINE.genes) == len(PLAIN.genes) + 2
        assert MINE.digest != PLAIN.digest and MINE.size == 4 * PLAIN.size

    def test_genes_come_back(self):
        genes = MINE.sample(np.random.default_rng(1), 100)
        archs = MINE.decode(genes)
        assert np.array_equal(MINE.encode(archs), genes)
        assert {kernels(arch) for arch in archs} == {
            (first, 5, 3, last) for first in (3, 5) for last in (3, 5)
        }
        assert len({arch.key for arch in archs}) == len({row.tobytes() for row in genes})

    def test_a_network_outside_the_options_is_refused_by_name(self):
        arch = with_kernels(MINE.decode(MINE.canonical([[0] * len(MINE.genes)]))[0], 3, 3, 3, 3)
        with pytest.raises(SpaceError, match=r"stage2\.ffn_kernel must be one of 5 \(got 3\)"):
            MINE.encode(arch)
        with pytest.raises(SpaceError, match=r"stage1\.ffn_kernel must be one of 3 \(got 5\)"):
            PLAIN.encode(with_kernels(arch, 5, 3, 3, 3))

    @pytest.mark.parametrize("value", [4, 7, "5", None])
    def test_other_kernels_are_refused_in_one_line(self, value):
        data = PRESETS["smt_t"].model_dump()
        data["stages"][0]["ffn_kernel"] = value
        with pytest.raises(ConfigError, match=r"stages\[0\]\.ffn_kernel must be 3 or 5 \(got"):
            validated(Architecture, data, "net.yaml")

    def test_costs_are_those_of_the_network_that_is_built(self):
        genes = MINE.sample(np.random.default_rng(2), 12)
        estimate = costs.estimate(MINE, genes)
        for i, arch in enumerate(MINE.decode(genes)):
            model = build(arch, device="meta")
            assert estimate.params[i] == sum(p.numel() for p in model.parameters())
            assert estimate.macs[i] == count(arch, tools=("torch",))["torch"].macs
            assert {k: v[i] for k, v in estimate.as_dict().items()} == costs.of(arch).as_dict()

    def test_a_larger_kernel_costs_its_own_weights_and_products_and_no_map(self):
        (arch,) = PLAIN.decode(PLAIN.canonical([[0] * len(PLAIN.genes)]))
        stage, wide = arch.stages[0], with_kernels(arch, 5, 3, 3, 3)
        before, after = costs.of(arch), costs.of(wide)
        assert after.params - before.params == (25 - 9) * stage.hidden
        assert after.macs - before.macs == (25 - 9) * stage.hidden * 16 * 16
        assert after.activations == before.activations
        assert after.peak_activation_mb == before.peak_activation_mb

    def test_a_device_predicts_both(self):
        genes = MINE.sample(np.random.default_rng(3), 6)
        device = load_device("a100")
        latency = device.predict(MINE, genes, Conditions())
        whole = [device.predict_arch(arch, Conditions()).ms[0] for arch in MINE.decode(genes)]
        assert latency.ms == pytest.approx(whole, rel=1e-9)
        names = [str(part) for part in PartIndex.of(MINE).parts if part.kind == "ffn"]
        assert "ffn 16x16 c16 h64" in names and "ffn 16x16 c16 k5 h64" in names

    @pytest.mark.parametrize(("name", "growth"), [("joint", 1.1), ("predictor", 2.0)])
    def test_no_network_has_it_so_it_wins_nothing_and_the_interval_grows(self, name, growth):
        arch = PRESETS["smt_t"]
        plain, other = make_evaluator(name).evaluate([arch, with_kernels(arch, 3, 3, 5, 3)])
        assert other.value == pytest.approx(plain.value, abs=0.1)  # by its costs
        widths = [e.interval[1] - e.interval[0] for e in (plain, other)]
        assert widths[1] > growth * widths[0]
        if name == "predictor":  # joint measures from published designs, which have no such gene
            assert other.extrapolation > plain.extrapolation + 10

    def test_a_search_goes_over_it_and_its_space_is_shown_with_it(self, tmp_path):
        path, out = tmp_path / "mine.yaml", tmp_path / "run"
        path.write_text(to_yaml(CONFIG))
        words = "--no-verify --evaluator capacity --workers 1 --n 24 --budget 9MMACs"
        invoke("search", "--space", path, *words.split(), "--out", out)
        front = [load_arch(file) for file in sorted((out / "front").glob("*.yaml"))]
        assert front and all(MINE.contains(front))
        shown = json.loads(invoke("spaces", "show", path, "--json").stdout)
        assert {"name": "stage4.ffn_kernel", "options": [5, 3]} in shown["genes"]
