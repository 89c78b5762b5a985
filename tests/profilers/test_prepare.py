"""A network made ready under conditions: what runs, what is refused, what is left as it was."""

import time

import pytest
import torch
from torch import nn

from smt_nas.arch import Architecture, Stage
from smt_nas.devices.conditions import Conditions
from smt_nas.errors import MeasurementError
from smt_nas.profilers import prepare as prepare_module
from smt_nas.profilers import room, target
from smt_nas.profilers.networks import Network, network_of
from smt_nas.profilers.prepare import first_tensor, prepare
from smt_nas.profilers.room import DoesNotFit
from smt_nas.profilers.switches import switched

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
        with switched(conditions, torch.device("cuda", 0)):
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
    monkeypatch.setattr(room, "available_mb", lambda: 1000.0)
    with pytest.raises(DoesNotFit, match="1000 MB are free"):
        prepare(of(Spy(), size=224), Conditions(batch=2000))
    monkeypatch.setattr(room, "available_mb", lambda: None)
    prepare(of(Spy()), Conditions()).close()


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


class TestDevices:
    """What is not there, on machines that this one is not."""

    @pytest.fixture
    def cuda(self, monkeypatch):
        """A CUDA build with one GPU of any kind."""
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "NVIDIA A100-SXM4-40GB")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda d: (8, 0))
        return monkeypatch

    @pytest.mark.parametrize("name", ["cud", "cuda:x", "cuda:-1", "mps", "", "cpu:1"])
    def test_no_device_of_that_name(self, name):
        with pytest.raises(MeasurementError, match="must be cpu, cuda or cuda:N"):
            prepare(TINY, Conditions(), name)

    def test_a_cpu_build(self, monkeypatch):
        monkeypatch.setattr(torch.version, "cuda", None)
        with pytest.raises(MeasurementError, match=r"^cuda:0: this torch is a CPU build"):
            prepare(TINY, Conditions(), "cuda:0")

    @pytest.mark.parametrize(
        "error", ["Found no NVIDIA driver on your system.\nMore.", "No CUDA GPUs are available"]
    )
    def test_no_driver_or_no_gpu(self, cuda, error):
        def init():
            raise RuntimeError(error)

        cuda.setattr(torch.cuda, "init", init)
        with pytest.raises(MeasurementError, match=error.split("\n")[0]) as caught:
            prepare(TINY, Conditions(), "cuda")
        assert "\n" not in str(caught.value)

    def test_an_index_out_of_range(self, cuda):
        assert target.resolve("cuda") == torch.device("cuda", 0)
        assert target.resolve("cuda:1") == torch.device("cuda", 1)
        with pytest.raises(MeasurementError, match="It has cuda:0, cuda:1"):
            target.resolve("cuda:2")

    def test_a_mig_slice(self, cuda):
        name = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
        cuda.setattr(torch.cuda, "get_device_name", lambda i: name)
        with pytest.raises(MeasurementError, match="a share of a GPU cannot be measured"):
            target.resolve("cuda")

    @pytest.mark.parametrize("precision", ["bf16", "amp-bf16", "tf32"])
    def test_formats_before_ampere(self, cuda, precision):
        device = torch.device("cuda", 0)
        target.check(Conditions(precision=precision), device)
        cuda.setattr(torch.cuda, "get_device_capability", lambda d: (7, 0))
        target.check(Conditions(precision="fp16"), device)
        with pytest.raises(MeasurementError, match=r"needs compute capability 8.0.*got 7.0"):
            target.check(Conditions(precision=precision), device)

    def test_modes_of_a_gpu(self, cuda):
        device = torch.device("cuda", 0)
        target.check(Conditions(mode="graph"), device)
        for wrong in ({"mode": "graph", "train": True}, {"threads": 2}):
            with pytest.raises(MeasurementError):
                target.check(Conditions(**wrong), device)

    def test_sets_of_inputs_fill_twice_the_cache(self, cuda):
        class Properties:
            L2_cache_size = 40 * 2**20

        cuda.setattr(torch.cuda, "get_device_properties", lambda d: Properties)
        device = torch.device("cuda", 0)
        assert prepare_module._sets(600_000, device) == 140
        assert prepare_module._sets(100 * 2**20, device) == 4
        assert prepare_module._sets(600 * 2**20, device) == 1  # bounded in memory
        assert prepare_module._sets(2 * 2**30, device) == 1


def test_compiling_stands_apart(monkeypatch):
    compiled = []

    def compile(module, dynamic):
        def forward(x):
            if not compiled:
                time.sleep(0.05)
            compiled.append(dynamic)
            return module(x)

        return forward

    monkeypatch.setattr(torch, "compile", compile)
    call = prepare(TINY, Conditions(mode="compile"))
    assert call.compile_ms is None
    call.first()
    call()
    assert call.compile_ms >= 50
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
