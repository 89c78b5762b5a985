"""A network made ready under conditions: what runs, what is refused, what is left as it was."""

import gc
import weakref
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from smt_nas.arch import Architecture, Stage
from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError
from smt_nas.profilers import memory_estimate
from smt_nas.profilers.latency import prepare as prepare_module
from smt_nas.profilers.latency.prepare import count_input_sets, first_tensor, prepare
from smt_nas.profilers.memory_estimate import DoesNotFit
from smt_nas.profilers.network_loader import Network, network_of
from smt_nas.runtime.torch_settings import apply_torch_settings

TINY = network_of(
    Architecture(
        image_size=32,
        num_classes=5,
        drop_path=0.3,
        stages=(
            Stage(dim=8, depth=2, kernels=(3, 5)),
            Stage(dim=8, depth=1, kernels=(3,)),
            Stage(dim=16, depth=2, attention_ratio=0.5, head_dim=8, kernels=(3, 5)),
            Stage(dim=16, depth=1, attention_ratio=1.0, head_dim=8),
        ),
    ),
    "tiny",
)
gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def of(module, size=32, channels=3, name="net"):
    return Network(name, name, None, size, channels, lambda: module)


class Spy(nn.Module):
    """Remembers what it is called with, and under which modes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.seen = []

    def forward(self, x):
        self.seen.append(
            {
                "image": x,
                "dtype": x.dtype,
                "threads": torch.get_num_threads(),
                "inference": torch.is_inference_mode_enabled(),
                "grad": torch.is_grad_enabled(),
                "amp": torch.is_autocast_enabled("cpu"),
                "training": self.training,
            }
        )
        return self.conv(x).mean(dim=(2, 3))


def run(conditions, module=None, calls=1):
    module = module or Spy()
    call = prepare(of(module), conditions)
    call.first()
    for _ in range(calls - 1):
        call()
    call.close()
    return module


def test_inference_runs_in_eval_and_inference_mode():
    spy = run(Conditions(batch=3, threads=1))
    (seen,) = spy.seen
    assert (seen["inference"], seen["training"], seen["amp"]) == (True, False, False)
    assert seen["image"].shape == (3, 3, 32, 32)
    assert seen["threads"] == 1


@pytest.mark.parametrize(
    ("precision", "dtype", "amp"),
    [
        ("fp32", torch.float32, False),
        ("bf16", torch.bfloat16, False),
        ("amp-bf16", torch.float32, True),
    ],
)
def test_precisions(precision, dtype, amp):
    spy = run(Conditions(precision=precision))
    assert spy.conv.weight.dtype == dtype
    assert (spy.seen[0]["dtype"], spy.seen[0]["amp"]) == (dtype, amp)


def test_memory_format_and_image_size():
    spy = run(Conditions(channels_last=True, image_size=40, batch=2))
    image = spy.seen[0]["image"]
    assert image.shape == (2, 3, 40, 40)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert spy.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_inputs_rotate():
    spy = run(Conditions(), calls=9)
    images = [s["image"] for s in spy.seen]
    assert [i.data_ptr() for i in images[:4]] == [i.data_ptr() for i in images[4:8]]
    assert len({i.data_ptr() for i in images}) == 4
    assert not torch.equal(images[0], images[1])
    assert all(bool(i.isfinite().all()) for i in images)


def test_sets_of_inputs_can_be_said():
    call = prepare(of(spy := Spy()), Conditions(), sets=1)
    call.first()
    call()
    assert spy.seen[0]["image"].data_ptr() == spy.seen[1]["image"].data_ptr()
    call.close()


def test_a_training_step_changes_weights_and_keeps_no_gradient():
    spy = Spy()
    before = spy.conv.weight.clone()
    run(Conditions(train=True, batch=2), spy, calls=3)
    (first, *_) = spy.seen
    assert (first["training"], first["grad"], first["inference"]) == (True, True, False)
    assert spy.conv.weight.grad is None
    assert not torch.equal(spy.conv.weight, before)
    assert bool(spy.conv.weight.isfinite().all())


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16"])
def test_torch_is_left_as_it_was(train, precision):
    threads = torch.get_num_threads()
    random = torch.get_rng_state()
    call = prepare(TINY, Conditions(train=train, precision=precision, threads=1, batch=2))
    call.first()
    for _ in range(2):
        call()
        assert torch.get_num_threads() == threads
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert torch.equal(torch.get_rng_state(), random)
    call.close()
    assert torch.equal(torch.get_rng_state(), random)


def test_switches_of_two_calls_do_not_mix():
    a, b = Spy(), Spy()
    calls = [prepare(of(m), Conditions(threads=t)) for m, t in ((a, 1), (b, 2))]
    for call in (*calls, *reversed(calls)):
        call.first()
    calls[0].close()  # in any order
    calls[1]()
    calls[1].close()
    assert {s["threads"] for s in a.seen} == {1}
    assert {s["threads"] for s in b.seen} == {2}


def test_switches_of_a_gpu():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    for precision, wanted in (("fp32", False), ("tf32", True), ("amp-fp16", False)):
        conditions = Conditions(precision=precision)
        with apply_torch_settings(conditions, torch.device("cuda", 0)):
            assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == (wanted, wanted, True)
        assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == before


class Returns(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.linear, self.wrap = nn.Linear(3, 2), wrap

    def forward(self, x):
        return self.wrap(self.linear(x.mean(dim=(2, 3))))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [lambda y: (y, None), lambda y: {"aux": None, "out": [y]}, lambda y: [[], y]],
    ids=["tuple", "dict", "list"],
)
def test_networks_that_return_more_than_logits(train, wrap):
    run(Conditions(train=train), Returns(wrap), calls=2)


def test_what_cannot_be_trained_is_one_line():
    for wrap in (lambda y: None, lambda y: {"n": 3}, lambda y: y.detach()):
        call = prepare(of(Returns(wrap)), Conditions(train=True))
        with pytest.raises(MeasurementError, match="needs a tensor with a gradient") as caught:
            call.first()
        assert "\n" not in str(caught.value)


def test_a_network_without_parameters():
    run(Conditions(), nn.AdaptiveAvgPool2d(1))
    with pytest.raises(MeasurementError, match="cannot be run"):
        run(Conditions(train=True), nn.AdaptiveAvgPool2d(1))


def test_first_tensor():
    t = torch.zeros(1)
    assert first_tensor({"a": ([], {"b": t})}) is t
    assert first_tensor("text") is None
    assert first_tensor(None) is None


def test_a_network_that_raises_is_one_line():
    class Broken(nn.Module):
        def forward(self, x):
            raise KeyError("two\nlines")

    call = prepare(of(Broken(), name="mine"), Conditions(batch=2))
    with pytest.raises(MeasurementError, match=r"^mine b2 fp32 eager on cpu: cannot be run") as e:
        call.first()
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_out_of_memory_is_told_apart(error):
    class Large(nn.Module):
        def forward(self, x):
            raise error

    call = prepare(of(Large()), Conditions())
    with pytest.raises(DoesNotFit, match=r"needs more memory than there is\. Use a smaller batch"):
        call.first()


def test_what_surely_does_not_fit_is_not_tried(monkeypatch):
    monkeypatch.setattr(memory_estimate, "available_mb", lambda: 1000.0)
    with pytest.raises(DoesNotFit, match="1000 MB are free"):
        prepare(of(Spy(), size=224), Conditions(batch=2000))
    monkeypatch.setattr(memory_estimate, "available_mb", lambda: 1e9)
    prepare(of(Spy()), Conditions()).close()


class Wide(nn.Module):
    """A convolution that writes 64 times what it reads, then a sum by pixel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 64, 1)

    def forward(self, x):
        y = self.conv(x).relu().sigmoid()
        return y.mean(dim=(1, 2, 3))


class Reading(Wide):
    """It looks at values, which meta tensors do not have."""

    def forward(self, x):
        return super().forward(x if x.sum().item() < 1e9 else -x)


@pytest.mark.parametrize("module", [Wide, Reading])
def test_activations_of_any_network_must_fit(monkeypatch, module):
    """100 maps of 1 MB: 2 of them at a time in inference, 3 kept for backward and less written."""
    network, random = of(module(), size=125, channels=1), torch.get_rng_state()

    def needed(**more):
        return memory_estimate.estimate_memory_mb(
            network, network.build().eval(), Conditions(batch=25, **more), 300
        )

    image, written = 25 * 125**2 * 4 / 1e6, 64 * 25 * 125**2 * 4 / 1e6
    assert 2 * written <= needed() <= 3 * written
    assert 2 * written + image <= needed(train=True) <= 5 * written
    assert needed(precision="bf16") <= needed()
    assert torch.equal(torch.get_rng_state(), random)
    monkeypatch.setattr(memory_estimate, "available_mb", lambda: 200.0)
    with pytest.raises(DoesNotFit, match=r"about \d+ MB, and 200 MB are free") as caught:
        prepare(network, Conditions(batch=25))
    assert "\n" not in str(caught.value)
    prepare(network, Conditions(batch=1)).close()


def test_what_fits_is_not_refused_and_nothing_is_left_behind():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    before = {name: t.clone() for name, t in model.state_dict().items()}
    memory_estimate.estimate_memory_mb(of(model), model, Conditions(batch=64, train=True), 100)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(t.device.type == "cpu" for t in model.state_dict().values())


def test_a_network_that_never_runs_has_its_own_error_at_its_first_call(monkeypatch):
    monkeypatch.setattr(memory_estimate, "available_mb", lambda: 100.0)
    call = prepare(of(nn.Linear(7, 7)), Conditions(batch=64))
    with pytest.raises(MeasurementError, match="cannot be run"):
        call.first()


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"precision": "tf32"}, "TF32 is a format of NVIDIA GPUs"),
        ({"mode": "graph"}, "a CUDA graph needs a GPU"),
    ],
)
def test_what_a_cpu_cannot_do_is_refused_with_the_reason(conditions, told):
    with pytest.raises(MeasurementError, match=told) as caught:
        prepare(TINY, Conditions(**conditions))
    assert "Use" in str(caught.value)


def test_a_type_that_torch_does_not_compute_is_refused(monkeypatch):
    def refuse(*args):
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    monkeypatch.setattr(nn.Conv2d, "forward", refuse)
    with pytest.raises(MeasurementError, match=r"torch refuses .*not implemented.*Use fp32"):
        prepare(TINY, Conditions(precision="fp16"))


def test_sets_of_inputs_fill_twice_the_cache():
    cache = 40 * 2**20
    assert count_input_sets(600_000, cache) == 140
    assert count_input_sets(100 * 2**20, cache) == 4
    assert count_input_sets(600 * 2**20, cache) == 1  # bounded in memory
    assert count_input_sets(2 * 2**30, cache) == 1


def test_compiling_stands_apart(monkeypatch):
    compiled = []

    def compile(module, dynamic):
        def forward(x):
            compiled.append(dynamic)
            return module(x)

        return forward

    monkeypatch.setattr(torch, "compile", compile)
    call = prepare(TINY, Conditions(mode="compile"))
    assert call.compile_ms is None
    call.first()
    call()
    assert call.compile_ms > 0
    assert compiled == [False, False]


def test_a_compiler_that_fails_is_one_line(monkeypatch):
    def compile(module, dynamic):
        def forward(x):
            raise torch._dynamo.exc.BackendCompilerFailed(None, RuntimeError("no g++\nfound"), None)

        return forward

    monkeypatch.setattr(torch, "compile", compile)
    call = prepare(TINY, Conditions(mode="compile"))
    with pytest.raises(MeasurementError, match=r"tiny b1 fp32 compile on cpu: .*no g\+\+") as e:
        call.first()
    assert "\n" not in str(e.value)


class Stream:
    def wait_stream(self, other):
        pass


class Graph:
    def replay(self):
        pass


def test_a_captured_step_keeps_the_weights_that_its_graph_reads(monkeypatch):
    """A graph knows their addresses alone: freed weights are an illegal access, or wrong times."""
    fakes = {
        "Stream": lambda device: Stream(),
        "current_stream": lambda device=None: Stream(),
        "CUDAGraph": Graph,
        "synchronize": lambda: None,
        **dict.fromkeys(("device", "stream", "graph"), lambda held: nullcontext()),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    built = []

    def build():
        module = nn.Conv2d(3, 2, 3)
        built.append(weakref.ref(module))
        return module

    monkeypatch.setattr(prepare_module, "check", lambda conditions, device: None)
    call = prepare(Network("net", "net", None, 8, 3, build), Conditions(mode="graph"))
    call.first()
    gc.collect()
    assert built[0]() is not None
    call()
    call.close()
    gc.collect()
    assert built[0]() is None


class Keeps(nn.Module):
    """Keeps the tensor its logits are in: of a graph, the one that each replay writes."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.logits = inner, None

    def forward(self, x):
        self.logits = self.inner(x)
        return self.logits


@gpu
@needs_gpu
def test_a_captured_network_runs_on_when_others_have_given_memory_back():
    network = Keeps(TINY.build())
    call = prepare(of(network), Conditions(batch=2, mode="graph"), "cuda", sets=1)
    call.first()
    torch.cuda.synchronize()
    before = network.logits.clone()
    other = prepare(TINY, Conditions(batch=64), "cuda")
    other.first()
    other.close()
    call()
    torch.cuda.synchronize()
    torch.testing.assert_close(network.logits, before)
    call.close()


@gpu
@needs_gpu
@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "amp-fp16", "amp-bf16"])
def test_modes_and_precisions_run_on_a_gpu(mode, precision):
    try:
        call = prepare(TINY, Conditions(batch=2, mode=mode, precision=precision), "cuda")
    except MeasurementError as error:
        pytest.skip(str(error))
    call.first()
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    assert (call.compile_ms is None) == (mode == "eager")
    call.close()


@gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "amp-fp16", "bf16"])
def test_a_training_step_runs_on_a_gpu(precision):
    call = prepare(TINY, Conditions(batch=2, train=True, precision=precision), "cuda")
    call.first()
    call()
    torch.cuda.synchronize()
    call.close()
