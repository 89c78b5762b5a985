"""Any network by its name: a preset, a model config, `timm:NAME` or `pkg.module:factory`."""

from __future__ import annotations

import copy
import difflib
import functools
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from smt_nas.arch import PRESETS, SMALL_PRESETS, Architecture, load_arch
from smt_nas.errors import ConfigError, MeasurementError, UnknownName, list_names, one_line
from smt_nas.files import looks_like_path
from smt_nas.models import SMT, build
from smt_nas.models.smt import initial_values
from smt_nas.runtime.backends import find_backend, load_graph
from smt_nas.runtime.file_facts import read_architecture
from smt_nas.runtime.torchvision_ops import import_timm
from smt_nas.runtime.user_code import import_attribute, run_user_code

_WAY_OUT = "A path to a model .yaml, timm:NAME and package.module:factory work too."
_TIMM = "timm:"
_SIZES = range(32, 8193)  # pixels, as Conditions allows
_A_SLIP, _NEAR = 0.85, 0.6  # shares of letters in common, as difflib has them
_UNIFORM = frozenset((torch.float16, torch.bfloat16, torch.float64))
_POOL = 1 << 18  # random numbers that cheap weights repeat


@dataclass(frozen=True)
class Network:
    """A network that can be built as often as is needed.

    Attributes:
        name: how tables call it: what the user wrote.
        spec: what the user wrote.
        arch: of an SMT; None for any other network, whose costs no formula knows.
        image_size: pixels of its square image.
        channels: of the image.
        build: a fresh module in eval mode on the CPU. The weights are random, the same ones each
            time; torch's random state is left alone. Raises MeasurementError where it is a deployed
            file that does not say its network.
        file: of a deployed network, which its own runtime runs; None for what torch runs.
    """

    name: str
    spec: str
    arch: Architecture | None
    image_size: int
    channels: int
    build: Callable[[], nn.Module]
    file: Path | None = None

    @property
    def is_countable(self) -> bool:
        """Whether there is a module to count; of a file there is none but by its manifest."""
        return self.file is None or self.arch is not None

    @property
    def is_smt(self) -> bool:
        """Whether it is of the SMT family."""
        return self.arch is not None


def module_copier(network: Network) -> Callable[[], nn.Module]:
    """Make modules for tools that change what they look at, each one that nobody else has.

    A copy is cheaper than a build. It is none where modules have hooks, which may hold on to the
    original, or cannot be copied, as with weight norm of before parametrisations.

    Returns: makes a module without gradients, in which nothing is compiled.
    """
    original = network.build()
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in original.modules())

    def make() -> nn.Module:
        model: nn.Module | None = None
        if not hooked:
            with suppress(Exception):  # anybody's code
                model = copy.deepcopy(original)
        if model is None:
            fresh = network.build()
            model = copy.deepcopy(fresh) if fresh is original else fresh
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return _undo_compiling(model)

    return make


def _undo_compiling(model: nn.Module) -> nn.Module:
    """The modules that torch.compile wrapped, in their places; those compiled in place, as were."""
    for module in list(model.modules()):
        module._compiled_call_impl = None
        for name, child in list(module.named_children()):
            if isinstance(inner := getattr(child, "_orig_mod", None), nn.Module):
                module.register_module(name, inner)
    whole = getattr(model, "_orig_mod", None)
    return whole if isinstance(whole, nn.Module) else model


def load_network(spec: str, image_size: int | None = None) -> Network:
    """Resolve what a user wrote. Nothing is downloaded.

    Args:
        spec: a preset, a path to a model config, `timm:NAME`, or `pkg.module:factory` where
            `factory()` returns an `nn.Module`, or is one, what lies in the working directory being
            seen; a deployed file, see `runtime.backends`.
        image_size: pixels; the network's own by default, 224 for a factory.

    Raises:
        UnknownName: no preset of that name.
        ConfigError: no timm model of that name, a size out of range or that the network does not
            take, a bad config, a factory that cannot be found, raises, or returns another thing.
        MeasurementError: timm or the runtime of a file is not installed, or it cannot be loaded.
    """
    if image_size is not None and image_size not in _SIZES:
        raise ConfigError(
            f"{spec}: an image must be from {_SIZES[0]} to {_SIZES[-1]} pixels "
            f"(got {image_size}). 224 is usual."
        )
    known = PRESETS | SMALL_PRESETS
    if spec not in known and find_backend(Path(spec)) is not None:
        return _load_deployed(Path(spec), image_size)
    if spec.startswith(_TIMM):
        return _load_timm(spec, image_size)
    if ":" in spec and not looks_like_path(spec):
        return _load_factory(spec, image_size)
    if spec not in known and Path(spec).is_dir():
        return _load_deployed(Path(spec), image_size)  # an error that says what a folder may be
    if spec not in known and not looks_like_path(spec):
        raise UnknownName("preset", spec, known, _WAY_OUT)
    arch = load_arch(spec)
    if image_size is not None:
        arch = arch.model_copy(update={"image_size": image_size})
    return network_of(arch, spec)


def network_of(arch: Architecture, name: str) -> Network:
    """The network of an architecture."""
    return Network(name, name, arch, arch.image_size, arch.in_channels, lambda: _build_smt(arch))


def _build_smt(arch: Architecture) -> SMT:
    """An SMT with cheap weights."""
    model = build(arch, device="meta").to_empty(device="cpu").eval()
    fill_weights(model)
    return model


def fill_weights(model: nn.Module) -> None:
    """Give modules of an SMT weights that are distributed as fresh ones, but drawn cheaply.

    Drawing each number anew takes longer than a forward does; here a small pool is repeated.
    """
    pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(0))

    def fill(module: nn.Module) -> None:
        for tensor, mean, std in initial_values(module):
            _fill_tensor(tensor, mean, std, pool)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()

    with torch.no_grad():
        model.apply(fill)


def _fill_tensor(tensor: Tensor, mean: float, std: float, pool: Tensor) -> None:
    if std == 0:
        tensor.fill_(mean)
        return
    for part in tensor.view(-1).split(len(pool)):  # type: ignore[no-untyped-call]
        torch.mul(pool[: len(part)], std, out=part).add_(mean)


def _load_timm(spec: str, image_size: int | None) -> Network:
    library, name = import_timm(), spec.removeprefix(_TIMM)
    if not library.is_model(name):
        near = suggest_timm_name(name, library.list_models())
        raise ConfigError(f"No timm model named {name!r}. {near}")
    config = library.get_pretrained_cfg(name)
    channels, *_, own = config.input_size if config is not None else (3, 224, 224)
    resized = image_size not in (None, own)
    options: dict[str, Any] = {}
    if resized and config is not None and config.fixed_input_size:
        options = {"img_size": image_size}  # its weights depend on the size

    def make() -> object:
        return library.create_model(name, pretrained=False, **options)

    network = Network(
        spec, spec, None, image_size or own, channels, lambda: _build_seeded(make, spec)
    )
    if resized:
        _check_size(network)
    return network


def suggest_timm_name(name: str, known: Iterable[str]) -> str:
    """What a user may have meant: names that begin so, a slip of one, or names that nearly do.

    Args:
        name: what was written, e.g. `swin_tiny` or `swin-tiny`.
        known: timm's names.
    """
    spelt = name.casefold().replace("-", "_").replace(" ", "_").strip("_")
    names = sorted(known, key=lambda known_name: (len(known_name), known_name))
    meant = [n for n in names if spelt and n.startswith(spelt)]
    meant = meant or difflib.get_close_matches(spelt, names, 1, _A_SLIP)
    if not meant and spelt:  # the beginnings of names, as most go on with a patch and an image size
        starts = {n[: len(spelt)]: n for n in reversed(names)}
        meant = [starts[s] for s in difflib.get_close_matches(spelt, starts, 1, _NEAR)]
    if not meant:
        return "timm.list_models() has all."
    return f"Did you mean {list_names([repr(n) for n in meant], 3)}?"


def _check_size(network: Network) -> None:
    """Build and run a network on shapes alone, as some take no size but their own."""
    size = network.image_size
    try:
        model = network.build().to("meta")
        with torch.inference_mode():
            model(torch.empty(1, network.channels, size, size, device="meta"))
    except Exception as error:  # the network's own code may raise anything
        raise ConfigError(
            f"{network.spec}: does not take this image size "
            f"(got {size}: {one_line(error.__cause__ or error)}). "
            "Leave --image-size out."
        ) from error


def _load_deployed(path: Path, image_size: int | None) -> Network:
    """A file of another runtime, with the network it was written from where its manifest says it.

    Its costs are those of that network.
    """
    _, channels, height, width = load_graph(path).shape
    arch = read_architecture(path)
    own = arch.image_size if arch is not None else 224
    size = image_size or height or own
    if height != width or (image_size and height not in (None, image_size)):
        got = f"{height}x{width}" if height != width else f"--image-size {image_size}"
        raise ConfigError(
            f"{path}: takes square images of {height or 'any'} pixels (got {got}). Leave "
            "--image-size out."
        )
    if arch is None:
        return Network(
            str(path), str(path), None, size, channels or 3, lambda: _refuse_to_build(path), path
        )
    arch = arch.model_copy(update={"image_size": size})
    return replace(network_of(arch, str(path)), file=path)


def _refuse_to_build(path: Path) -> nn.Module:
    raise MeasurementError(f"{path}: does not say its network, as no manifest is beside it.")


def _load_factory(spec: str, image_size: int | None) -> Network:
    with torch.random.fork_rng(devices=[]):
        factory = import_attribute(spec, "network")
    if isinstance(factory, nn.Module):  # copied for each run, as what a factory keeps
        factory = functools.partial(_return, factory)
    if not callable(factory):
        raise ConfigError(
            f"network {spec}: must name a function that returns an nn.Module "
            f"(got {type(factory).__name__}). Write `def {spec.rpartition(':')[2]}(): return ...`."
        )
    make: Callable[[], object] = factory
    size = image_size or 224
    # what does not build is better told now; modules of this one that come again are shared
    first = _materialise(_build_seeded(make, spec), (1, 3, size, size), spec)
    handed_out = weakref.WeakSet(first.modules())

    def build() -> nn.Module:
        model = _build_seeded(make, spec)
        if any(module in handed_out for module in model.modules()):
            model = _copy_shared(model, spec)
        return _materialise(model, (1, 3, size, size), spec)

    return Network(spec, spec, None, size, 3, build)


def _return(model: nn.Module) -> nn.Module:
    return model


def _copy_shared(model: nn.Module, spec: str) -> nn.Module:
    """A copy of what a factory keeps and returns each time: one run may not mark the next."""
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise ConfigError(
            f"network {spec}: the factory must build a module each time it is called (got the "
            f"same one, which cannot be copied: {one_line(error)}). Build it inside the factory."
        ) from error


def _materialise(model: nn.Module, shape: tuple[int, ...], spec: str) -> nn.Module:
    """Give lazy modules their shapes: one image goes through, as their first call does."""
    if not any(map(is_lazy, [*model.parameters(), *model.buffers()])):
        return model
    with torch.random.fork_rng(devices=[]), run_user_code(), torch.no_grad():
        torch.manual_seed(0)
        try:
            model(torch.zeros(shape))
        except Exception as error:  # the user's code may raise anything
            raise ConfigError(
                f"network {spec}: lazy modules must take an image of {shape[-1]} pixels to get "
                f"their shapes (got {one_line(error)}). Mend it, or add --image-size."
            ) from error
    return model


def _build_seeded(factory: Callable[[], object], spec: str) -> nn.Module:
    """Call a factory with a seed of its own, and judge what comes."""
    with torch.random.fork_rng(devices=[]), run_user_code():
        torch.manual_seed(0)
        try:
            model = factory()
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise ConfigError(
                f"network {spec}: the factory must return an nn.Module (got {one_line(error)}). "
                "Mend it."
            ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"network {spec}: the factory must return an nn.Module (got {type(model).__name__}). "
            "Mend it."
        )
    return _widen(set_mode(model, training=False))


def set_mode(model: nn.Module, training: bool) -> nn.Module:
    """`train` or `eval`; what torch.export made has one mode for good, and refuses both."""
    with suppress(NotImplementedError):
        model.train() if training else model.eval()
    return model


def _widen(model: nn.Module) -> nn.Module:
    """In fp32, where all of it is in one other type of floats: which it runs in, conditions say.

    A mixture is the network's own, and so are quantised weights.
    """
    tensors = [*model.parameters(), *model.buffers()]
    kinds = {t.dtype for t in tensors if t.is_floating_point()}
    return model.float() if len(kinds) == 1 and kinds <= _UNIFORM else model
