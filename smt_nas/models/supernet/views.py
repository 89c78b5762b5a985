"""Where the weights of a network lie in the store of a supernet: one table, pure functions.

A plain tensor of a network is one window, or several one after the other, of stored tensors as
large as the largest network's. A window is a prefix of every axis, read in another order where
heads are concerned, so a narrower network holds a part of what a wider one holds, each number in
the same role:

- SAM's context rows stand as r = c*h + i (channel c of head i), MSA's as r = d*heads + a (channel d
  of head a). A prefix then takes channels from every head alike; by heads one after the other, most
  rows would change their kernel or their head with the width.
- In that order SAA's regrouping is the identity: output o = r*e + t of its grouped convolution is
  (r, t) for every number of heads h.
- What has no order has tensors of its own: the stem and its batch norm for each kernel, MHMC for
  each kernel size, SAA and its batch norm for each number of heads, the FFN's convolution for each
  kernel. A block has both mixers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from smt_nas.arch import Architecture, Mixer, Stage

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Part of a stored tensor, as (part of) a plain one.

    Attributes:
        name: of the stored tensor.
        parts: of each of its axes, which indices.
        shape: of the plain tensor.
        heads: the rows (axis 0) stand as r = c*heads + i, and are read head by head.
        column_heads: likewise of axis 1.
    """

    name: str
    parts: tuple[slice, ...]
    shape: Shape
    heads: int = 1
    column_heads: int = 1

    @property
    def extent(self) -> Shape:
        """Shape that a stored tensor must have at least."""
        return tuple(part.stop for part in self.parts)

    def view(self, stored: Tensor) -> Tensor:
        """The window in the plain order, axes split; shares the memory of the stored tensor."""
        part = stored[self.parts]
        if self.column_heads > 1:
            rows, columns = part.shape
            part = part.view(rows, columns // self.column_heads, self.column_heads).transpose(1, 2)
        if self.heads > 1:
            rows, *inner = part.shape
            part = part.view(rows // self.heads, self.heads, *inner).transpose(0, 1)
        return part

    def read(self, stored: Tensor) -> Tensor:
        """The plain tensor; contiguous."""
        return self.view(stored).reshape(self.shape).contiguous()

    def write(self, stored: Tensor, plain: Tensor) -> None:
        """Put a plain tensor where `read` takes it from."""
        view = self.view(stored)
        view.copy_(plain.reshape(view.shape))


def _window(
    name: str, *sizes: int, shape: Shape | None = None, heads: int = 1, column_heads: int = 1
) -> Window:
    parts = tuple(slice(0, size) for size in sizes)
    return Window(name, parts, sizes if shape is None else shape, heads, column_heads)


@dataclass(frozen=True)
class Site:
    """Where a module stands: all that its windows depend on.

    Attributes:
        stored: prefix of the names of what is stored for it.
        stage: the stage.
        dim_in: channels that come into the stage.
        stem_kernel: of the network.
        num_classes: of the network.
    """

    stored: str
    stage: Stage
    dim_in: int
    stem_kernel: int
    num_classes: int

    @property
    def dim(self) -> int:
        """Channels of the stage."""
        return self.stage.dim

    @property
    def h(self) -> int:
        """Heads of SAM."""
        return len(self.stage.kernels)

    @property
    def wide(self) -> int:
        """Channels of SAM's aggregation."""
        return self.stage.dim * self.stage.expand_ratio


Rule = Callable[[str, Site], list[Window]]
"""From the stored name and the site to the windows that make up the plain tensor."""
Rules = Mapping[str, Rule]


def _sized(*sizes: Callable[[Site], int]) -> Rule:
    """A prefix of every axis, in the stored order."""
    return lambda name, s: [_window(name, *(size(s) for size in sizes))]


def _per(tag: Callable[[Site], str], rule: Rule) -> Rule:
    """A tensor of its own for each value of a gene without an order, which ends the name."""
    return lambda name, s: rule(f"{name}.{tag(s)}", s)


def _fixed(size: int) -> Callable[[Site], int]:
    return lambda s: size


def _c(s: Site) -> int:
    return s.dim


def _c_in(s: Site) -> int:
    return s.dim_in


def _hidden(s: Site) -> int:
    return s.stage.hidden


def _classes(s: Site) -> int:
    return s.num_classes


def _stem_k(s: Site) -> int:
    return s.stem_kernel


def _ffn_k(s: Site) -> int:
    return s.stage.ffn_kernel


def _stem_tag(s: Site) -> str:
    return f"k{s.stem_kernel}"


def _ffn_tag(s: Site) -> str:
    return f"k{s.stage.ffn_kernel}"


def _h_tag(s: Site) -> str:
    return f"h{s.h}"


def _sam_linear(name: str, s: Site) -> list[Window]:
    """Context, its rows by heads, then value."""
    s_name, v_name = name.replace(".sv.", ".s."), name.replace(".sv.", ".v.")
    sizes = (s.dim, s.dim) if name.endswith("weight") else (s.dim,)
    return [_window(s_name, *sizes, heads=s.h), _window(v_name, *sizes)]


def _aggregate_weight(name: str, s: Site) -> list[Window]:
    shape = (s.wide, 1, s.h, 1)
    return [_window(f"{name}.{_h_tag(s)}", s.dim, s.stage.expand_ratio, s.h, shape=shape)]


def _aggregate_vector(name: str, s: Site) -> list[Window]:
    sizes = (s.dim, s.stage.expand_ratio)
    return [_window(f"{name}.{_h_tag(s)}", *sizes, shape=(s.wide,))]


def _modulate_weight(name: str, s: Site) -> list[Window]:
    return [_window(name, s.dim, s.dim, s.stage.expand_ratio, shape=(s.dim, s.wide))]


def _qkv(name: str, s: Site) -> list[Window]:
    """Three matrices that are stored apart, so that a prefix of each is taken."""
    sizes = (s.dim, s.dim) if name.endswith("weight") else (s.dim,)
    stored = (name.replace(".qkv.", f".{part}.") for part in "qkv")
    return [_window(part, *sizes, heads=s.stage.heads) for part in stored]


def _by_attention_heads(*inner: int) -> Rule:
    return lambda name, s: [_window(name, s.dim, *inner, heads=s.stage.heads)]


def _attention_output(name: str, s: Site) -> list[Window]:
    return [_window(name, s.dim, s.dim, column_heads=s.stage.heads)]


_NORM: Rules = {"weight": _sized(_c), "bias": _sized(_c)}


def _within(module: str, rules: Rules) -> Rules:
    return {f"{module}.{name}": rule for name, rule in rules.items()}


STEM: Rules = {
    "conv1.weight": _per(_stem_tag, _sized(_c, _c_in, _stem_k, _stem_k)),
    "bn.weight": _per(_stem_tag, _sized(_c)),
    "bn.bias": _per(_stem_tag, _sized(_c)),
    "conv2.weight": _sized(_c, _c, _fixed(2), _fixed(2)),
    "conv2.bias": _sized(_c),
    **_within("norm", _NORM),
}
DOWNSAMPLE: Rules = {
    "conv.weight": _sized(_c, _c_in, _fixed(3), _fixed(3)),
    "conv.bias": _sized(_c),
    **_within("norm", _NORM),
}
SAM: Rules = {
    **_within("norm1", _NORM),
    "mixer.sv.weight": _sam_linear,
    "mixer.sv.bias": _sam_linear,
    # and its heads: `_list_heads`
    "mixer.aggregate.weight": _aggregate_weight,
    "mixer.aggregate.bias": _aggregate_vector,
    "mixer.bn.weight": _aggregate_vector,
    "mixer.bn.bias": _aggregate_vector,
    "mixer.modulate.weight": _modulate_weight,
    "mixer.modulate.bias": _sized(_c),
    "mixer.proj.weight": _sized(_c, _c),
    "mixer.proj.bias": _sized(_c),
}
MSA: Rules = {
    **_within("norm1", _NORM),
    "mixer.qkv.weight": _qkv,
    "mixer.qkv.bias": _qkv,
    "mixer.local.weight": _by_attention_heads(1, 3, 3),
    "mixer.local.bias": _by_attention_heads(),
    "mixer.proj.weight": _attention_output,
    "mixer.proj.bias": _sized(_c),
}
FFN: Rules = {
    **_within("norm2", _NORM),
    "ffn.fc1.weight": _sized(_hidden, _c),
    "ffn.fc1.bias": _sized(_hidden),
    "ffn.dwconv.weight": _per(_ffn_tag, _sized(_hidden, _fixed(1), _ffn_k, _ffn_k)),
    "ffn.dwconv.bias": _per(_ffn_tag, _sized(_hidden)),
    "ffn.fc2.weight": _sized(_c, _hidden),
    "ffn.fc2.bias": _sized(_c),
}
HEAD: Rules = {"head.weight": _sized(_classes, _c), "head.bias": _sized(_classes)}
SCALE1: Rules = {"scale1.gamma": _sized(_c)}
SCALE2: Rules = {"scale2.gamma": _sized(_c)}
MIXER_RULES: Mapping[Mixer, Rules] = {"sam": SAM, "msa": MSA}


def list_windows(arch: Architecture, share_ffn: bool = True) -> dict[str, list[Window]]:
    """Which windows of the store make up each parameter of a network, by its plain name.

    The parameters are those of `SMT(arch)`; batch norm statistics are none, and are not stored.

    Args:
        arch: the network.
        share_ffn: see `SupernetSpec`.
    """
    windows: dict[str, list[Window]] = {}
    for i, stage in enumerate(arch.stages):
        prefix, dim_in = f"stages.{i}", arch.stages[i - 1].dim if i else arch.in_channels
        site = Site(prefix, stage, dim_in, arch.stem.kernel, arch.num_classes)
        embed = DOWNSAMPLE if i else STEM
        windows |= _apply(f"{prefix}.embed", f"{prefix}.embed", embed, site)
        for j, mixer in enumerate(stage.mixers):
            plain, own = f"{prefix}.blocks.{j}", f"{prefix}.blocks.{j}.{mixer}"
            ffn = plain if share_ffn else own
            windows |= _apply(plain, own, MIXER_RULES[mixer], site)
            windows |= dict(_list_heads(plain, own, site)) if mixer == "sam" else {}
            windows |= _apply(plain, ffn, FFN, site)
            if arch.layer_scale is not None:
                windows |= _apply(plain, own, SCALE1, site) | _apply(plain, ffn, SCALE2, site)
        windows |= _apply(f"{prefix}.norm", f"{prefix}.norm", _NORM, site)
    return windows | {name: rule(name, site) for name, rule in HEAD.items()}


def _apply(plain: str, stored: str, rules: Rules, site: Site) -> dict[str, list[Window]]:
    return {f"{plain}.{name}": rule(f"{stored}.{name}", site) for name, rule in rules.items()}


def _list_heads(plain: str, stored: str, s: Site) -> Iterator[tuple[str, list[Window]]]:
    """MHMC: head i has the channels r = c*h + i of its kernel size."""
    for i, k in enumerate(s.stage.kernels):
        rows, name = slice(i, s.dim, s.h), f"{stored}.mixer.heads.{{}}.k{k}"
        one, whole = slice(0, 1), slice(0, k)
        channels = s.dim // s.h
        weight = Window(name.format("weight"), (rows, one, whole, whole), (channels, 1, k, k))
        bias = Window(name.format("bias"), (rows,), (channels,))
        yield f"{plain}.mixer.heads.{i}.weight", [weight]
        yield f"{plain}.mixer.heads.{i}.bias", [bias]


def views(
    store: Mapping[str, Tensor], arch: Architecture, share_ffn: bool = True
) -> dict[str, Tensor]:
    """The parameters of a network, by their plain names; gradients flow into the store.

    Args:
        store: its tensors by name.
        arch: the network.
        share_ffn: see `SupernetSpec`.

    Returns: contiguous tensors; such as are a whole stored one share its memory.

    Raises:
        KeyError: the store is not of a space with this network.
    """
    parameters = {}
    for name, windows in list_windows(arch, share_ffn).items():
        pieces = [window.read(store[window.name]) for window in windows]
        parameters[name] = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return parameters


def scatter(
    store: Mapping[str, Tensor],
    arch: Architecture,
    parameters: Mapping[str, Tensor],
    share_ffn: bool = True,
) -> None:
    """Put the parameters of a network into the store, where `views` takes them from.

    All else in the store is left as it is. Of zeros and gradients it makes the gradients of the
    store: it is the adjoint of `views`.
    """
    with torch.no_grad():
        for name, windows in list_windows(arch, share_ffn).items():
            sizes = [window.shape[0] for window in windows]
            for window, piece in zip(windows, torch.split(parameters[name], sizes), strict=True):
                window.write(store[window.name], piece)
