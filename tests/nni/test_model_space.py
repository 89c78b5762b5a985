"""A search space as NNI 3 knows one: its samples are our networks, in its own strategies."""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from smt_nas import costs
from smt_nas.arch import SMALL_PRESETS
from smt_nas.errors import ConfigError, MeasurementError
from smt_nas.models import SMT, build
from smt_nas.runtime.imports import import_nni
from smt_nas.space import SearchSpace
from smt_nas.space.sample import list_options, make_samples
from tests.fakes import devices

if find_spec("nni") is None:
    pytest.skip("nni is not installed: pip install 'smt-nas[nni]'", allow_module_level=True)

smt_nni = import_module("smt_nas.nni")
nni, mutable, spaces, strategies, middleware, execution = (
    import_nni(f"nni{name}")
    for name in (
        "",
        ".mutable",
        ".nas.space",
        ".nas.strategy",
        ".nas.strategy.middleware",
        ".nas.execution",
    )
)

SPACE = SearchSpace.load("smt_micro")
FORMATS = [spaces.RawFormatModelSpace, spaces.SimplifiedModelSpace]


@pytest.fixture(scope="module")
def model_space():
    return smt_nni.model_space("smt_micro")


def draw(seed=0):
    [sample] = make_samples(SPACE, SPACE.sample(np.random.default_rng(seed), 1))
    return sample


def seeded(make):
    torch.manual_seed(0)
    return make().eval()


def test_every_gene_is_a_choice_under_its_own_name(model_space):
    choices = model_space.simplify()
    assert {name: choice.values for name, choice in choices.items()} == list_options(SPACE)
    assert all(type(choice) is mutable.Categorical for choice in choices.values())


@pytest.mark.parametrize("seed", range(3))
def test_a_frozen_sample_is_the_network_that_build_makes(model_space, seed):
    sample = draw(seed)
    arch = model_space.to_architecture(sample)
    frozen, built = seeded(lambda: model_space.freeze(sample)), seeded(lambda: build(arch))
    assert type(frozen) is SMT
    assert frozen.arch.key == arch.key
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(frozen(images), built(images))


@pytest.mark.parametrize("make", FORMATS)
def test_what_nni_executes_is_that_network(model_space, make):
    frozen = make.from_model(model_space).freeze(draw())
    network = frozen.executable_model()
    assert type(network) is SMT
    assert network.arch.key == model_space.to_architecture(draw()).key


def test_a_sample_survives_the_way_to_another_process(model_space):
    frozen = spaces.SimplifiedModelSpace.from_model(model_space).freeze(draw())
    loaded = nni.load(nni.dump(frozen))
    assert loaded.executable_model().arch.key == model_space.to_architecture(draw()).key


def make_strategies():
    return [
        strategies.Random(seed=0),
        strategies.RegularizedEvolution(seed=0, population_size=4, sample_size=2),
        strategies.GridSearch(seed=0),
    ]


@pytest.mark.parametrize("strategy", make_strategies(), ids=lambda s: type(s).__name__)
def test_strategies_of_nni_search_within_a_budget_and_rate_every_network_once(
    model_space, strategy
):
    chain = middleware.Chain(
        strategy,
        smt_nni.budget_filter(model_space, "12MMACs"),
        smt_nni.once_filter(model_space),
    )
    evaluator = smt_nni.rating_evaluator(model_space, "capacity")
    engine = execution.SequentialExecutionEngine(max_model_count=7)
    chain(spaces.SimplifiedModelSpace.from_model(model_space, evaluator), engine)
    rated = list(engine.list_models())
    archs = [model_space.to_architecture(model.sample) for model in rated]
    assert len({arch.key for arch in archs}) == len(rated) == 7
    assert max(costs.of(arch).macs for arch in archs) <= 12e6
    assert all(isinstance(model.metric, float) for model in rated)


def test_one_seed_of_nni_gives_the_same_networks_again(model_space):
    def search():
        engine = execution.SequentialExecutionEngine(max_model_count=3)
        evaluator = smt_nni.rating_evaluator(model_space, "capacity")
        space = spaces.SimplifiedModelSpace.from_model(model_space, evaluator)
        strategies.Random(seed=3)(space, engine)
        return [(model.sample, model.metric) for model in engine.list_models()]

    assert search() == search()


def test_profilers_tell_costs_by_formula_and_latency_by_device(model_space, monkeypatch):
    devices.install(monkeypatch)
    sample = draw()
    table = costs.of(model_space.to_architecture(sample))
    assert smt_nni.MetricProfiler(model_space, "macs").profile(sample) == table.macs
    assert smt_nni.MetricProfiler(model_space, "params").profile(sample) == table.params
    profiler = smt_nni.MetricProfiler(model_space, "latency", "a100:b1:fp16")
    assert profiler.name == "latency_ms"
    assert profiler.profile(sample) == pytest.approx(
        (0.1 + table.macs / 2e8 + table.activations / 9e6) / 2
    )


def test_a_range_of_a_profiler_filters(model_space):
    frozen = spaces.SimplifiedModelSpace.from_model(model_space).freeze(draw())
    profiler = smt_nni.MetricProfiler(model_space, "macs")
    macs = profiler.profile(frozen.sample)
    for low, high, holds in [(None, macs, True), (macs, None, True), (0.0, macs - 1, False)]:
        assert smt_nni.range_filter(profiler, low, high).filter_fn(frozen) is holds


def test_equal_networks_of_two_samples_pass_once(model_space):
    sample = draw() | {"stage1.attention_ratio": 0.0}
    heads = list_options(SPACE)["stage1.heads"]
    make = spaces.SimplifiedModelSpace.from_model(model_space).freeze
    once = smt_nni.once_filter(model_space)
    passed = [once.filter_fn(make(sample | {"stage1.heads": h})) for h in heads]
    assert passed == [True] + [False] * (len(heads) - 1)


def test_what_is_asked_wrongly_is_refused_in_one_line(model_space):
    network = build(SMALL_PRESETS["smt_micro"])
    refused = [
        (lambda: model_space(torch.zeros(1)), "is not a network .* one-shot strategies"),
        (lambda: smt_nni.MetricProfiler(model_space, "score"), "must be a cost or a latency"),
        (lambda: smt_nni.budget_filter(model_space), "must have a budget"),
        (lambda: smt_nni.budget_filter(model_space, "many"), "many"),
        (lambda: smt_nni.rating_evaluator(model_space, "jiont"), "jiont"),
        (lambda: smt_nni.model_space("smt_mikro"), "smt_micro"),
    ]
    for call, message in refused:
        with pytest.raises(ConfigError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not hasattr(network, "mutables")


def test_a_sample_of_another_space_is_no_sample_of_this_one(model_space):
    with pytest.raises(mutable.SampleValidationError):
        model_space.freeze(draw() | {"stage1.dim": 17})


def test_an_older_nni_is_told_from_none():
    with pytest.raises(MeasurementError, match=r"nni>=3\.0: must be installed"):
        import_nni("nni.no_such_module")
