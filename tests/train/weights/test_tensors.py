"""States and weights on disk: every kind of value comes back as it went, and nothing else goes."""

import math
import sys
from collections import Counter, OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from smt_nas.errors import StoreError
from smt_nas.train.weights.tensors import pack, read_metadata, read_tensors, unpack, write_tensors

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def through_disk(state, folder):
    kept, text = pack(state)
    write_tensors(folder / "state.safetensors", kept, {"text": text})
    back, metadata = read_tensors(folder / "state.safetensors")
    return unpack(back, metadata["text"])


def same(a, b):
    """Equal in type, value and bits, all the way down."""
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and torch.equal(
                a.contiguous().view(-1).view(torch.uint8), b.contiguous().view(-1).view(torch.uint8)
            )
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    return a == b


plain = st.none() | st.booleans() | st.integers() | st.text() | st.floats()
keys = st.text() | st.integers()
states = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=40)
@given(states)
def test_plain_values_come_back(state):
    assert same(unpack(*pack(state)), state)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_come_back_in_their_type(dtype, tmp_path):
    values = torch.tensor([0, 1, 3, 0]).to(dtype)
    state = {
        "many": values,
        "one": values[1].clone(),
        "none": values[:0],
        "empty": values.new_empty(0, 3),
    }
    back = through_disk(state, tmp_path)
    assert same(back, state)
    assert back["one"].shape == () and back["empty"].shape == (0, 3)


def test_numbers_that_are_not_finite_come_back(tmp_path):
    values = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 2**80, 0.1 + 0.2]
    state = {"plain": values, "tensor": torch.tensor([math.nan, math.inf, -math.inf, -0.0])}
    assert same(through_disk(state, tmp_path), state)


def test_keys_and_containers_keep_their_kind(tmp_path):
    state = {
        1: "one",
        "1": "text",
        "": (),
        "list": [(1, [2]), {}],
        "dict": {"tensor": 1, "tuple": (None,)},
    }
    assert same(through_disk(state, tmp_path), state)


def test_a_module_s_state_comes_back_as_a_dict(tmp_path):
    module = nn.BatchNorm2d(3)
    back = through_disk(module.state_dict(), tmp_path)
    assert type(back) is dict and same(back, dict(module.state_dict()))


def test_what_is_shared_stays_shared(tmp_path):
    one = torch.arange(4.0)
    state = {"a": one, "b": [one, one.detach()], "view": one[1:3], "row": one.view(2, 2)}
    kept, _ = pack(state)
    assert len(kept) == 3
    back = through_disk(state, tmp_path)
    assert same(back, state)
    assert back["a"] is back["b"][0] is back["b"][1]


def test_equal_tensors_are_not_one(tmp_path):
    state = [torch.zeros(2), torch.zeros(2), torch.empty(0), torch.empty(0)]
    back = through_disk(state, tmp_path)
    assert len({id(t) for t in back}) == 4


def test_the_order_of_axes_in_memory_comes_back(tmp_path):
    image = torch.arange(48.0).reshape(2, 3, 4, 2)
    state = {
        "channels last": image.contiguous(memory_format=torch.channels_last),
        "transposed": torch.arange(6.0).reshape(2, 3).t(),
        "with gaps": torch.arange(12.0).reshape(3, 4)[:, ::2],
        "expanded": torch.ones(1, 3).expand(2, 3),
    }
    back = through_disk(state, tmp_path)
    assert same(back, state)
    for name in ("channels last", "transposed"):
        assert back[name].stride() == state[name].stride()
    assert back["with gaps"].is_contiguous() and back["expanded"].is_contiguous()


def test_parameters_come_back_as_tensors(tmp_path):
    back = through_disk([nn.Parameter(torch.ones(2))], tmp_path)
    assert type(back[0]) is torch.Tensor and not back[0].requires_grad


def trained(name, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2))
    net.to(memory_format=torch.channels_last)

    options = {"sgd": {"momentum": 0.9}, "adamw": {"amsgrad": True}}[name]
    optimizer = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[name](
        [{"params": [p], "lr": 0.1 + i} for i, p in enumerate(net.parameters())], lr=0.1, **options
    )
    return net, optimizer


def step(net, optimizer):
    optimizer.zero_grad()
    net(
        torch.randn(2, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    ).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_an_optimizer_goes_on_bit_for_bit(name, tmp_path):
    net, optimizer = trained(name)
    step(net, optimizer)
    state = {"net": dict(net.state_dict()), "optimizer": optimizer.state_dict()}
    back = through_disk(state, tmp_path)
    assert same(back["optimizer"], state["optimizer"])
    other, resumed = trained(name, seed=1)
    other.load_state_dict(back["net"])
    resumed.load_state_dict(back["optimizer"])
    for pair in ((net, optimizer), (other, resumed)):
        torch.manual_seed(5)
        step(*pair)
        step(*pair)
    assert same(dict(net.state_dict()), dict(other.state_dict()))


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"a": [1, {2, 3}]}, r"state\.a\[1\]: cannot be stored \(got a set\)"),
        (np.float64(1), r"got a float64"),
        ([np.ones(2)], r"state\[0\]: .*got a ndarray"),
        (Counter("ab"), "got a Counter"),
        (Pair(1, 2), "got a Pair"),
        (b"bytes", "got a bytes"),
        ({"x": {1.5: 0}}, r"state\.x: a key must be a text or an integer \(got 1\.5\)"),
        ({True: 0}, "a key must be .*got True"),
        ({(1,): 0}, "a key must be"),
        (lambda: 0, "got a function"),
        (torch.zeros(2, dtype=torch.complex128), "complex128"),
        ({"w": torch.eye(2).to_sparse()}, r"state\.w: .*sparse"),
        (torch.zeros(2, device="meta"), "on meta"),
    ],
)
def test_anything_else_is_refused(state, told):
    with pytest.raises(TypeError, match=told):
        pack(state)


def test_an_ordered_dict_is_a_dict():
    assert unpack(*pack(OrderedDict(b=1, a=2))) == {"b": 1, "a": 2}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"tensor": "none"}',
        '{"object": 1}',
        '{"dict": 3}',
        '{"dict": [[1]]}',
        "{}",
        '{"tensor": []}',
    ],
)
def test_a_damaged_text_is_a_value_error(text):
    with pytest.raises(ValueError):
        unpack({}, text)


def test_weights_that_share_memory_are_written_apart(tmp_path):
    one = torch.arange(6.0).reshape(2, 3)
    weights = {"a": one, "b": one, "c": one.t(), "row": one[0]}
    write_tensors(tmp_path / "w.safetensors", weights, {"format": "pt"})
    back, metadata = read_tensors(tmp_path / "w.safetensors")
    assert metadata == read_metadata(tmp_path / "w.safetensors") == {"format": "pt"}
    assert back.keys() == weights.keys() and all(torch.equal(back[k], weights[k]) for k in weights)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_what_is_read_does_not_hang_on_the_file(tmp_path):
    file = tmp_path / "w.safetensors"
    write_tensors(file, {"odd": torch.arange(3, dtype=torch.uint8), "w": torch.arange(100.0)}, {})
    found, _ = read_tensors(file)
    with file.open("r+b") as opened:
        opened.write(b"\0" * file.stat().st_size)
    assert torch.equal(found["w"], torch.arange(100.0))
    assert found["w"].data_ptr() % 64 == 0  # as torch aligns its own


def cut(raw):
    return raw[:-20]


def longer(raw):
    return raw + b"more"


def in_the_header(raw):
    return raw[:40]


def page(raw):
    return b"<!DOCTYPE html><html>Not found</html>" * 9


@pytest.mark.parametrize(
    "damage", [cut, longer, in_the_header, page, lambda raw: b"", lambda raw: b"\0" * 99]
)
def test_a_damaged_file_is_told(damage, tmp_path):
    file = tmp_path / "w.safetensors"
    write_tensors(file, {"w": torch.arange(100.0)}, {})
    file.write_bytes(damage(file.read_bytes()))
    for reader in (read_tensors, read_metadata):
        with pytest.raises(
            StoreError, match=r"w\.safetensors: must be a whole safetensors .*restore"
        ) as error:
            reader(file)
        assert "\n" not in str(error.value)


def test_what_is_not_there_or_no_file_is_told(tmp_path):
    with pytest.raises(StoreError, match="is missing"):
        read_tensors(tmp_path / "none.safetensors")
    with pytest.raises(StoreError, match="whole safetensors"):
        read_tensors(tmp_path)


def test_safetensors_errors_become_those_of_the_system(tmp_path):
    with pytest.raises(OSError) as error:
        write_tensors(tmp_path / "none" / "w.safetensors", {"w": torch.ones(1)}, {})
    assert error.value.strerror == "No such file or directory"


def test_without_safetensors_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(StoreError, match=r"pip install 'smt-nas\[train\]'"):
        read_tensors(tmp_path / "w.safetensors")
