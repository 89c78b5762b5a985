"""What was written, loaded back and run beside the network it was written from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from smt_nas.errors import ExportError, SmtNasError, one_line
from smt_nas.export.exporter import ExporterEntry, ExportOptions
from smt_nas.export.manifest import Check, Manifest, Measure

if TYPE_CHECKING:
    from torch import Tensor

    from smt_nas.export.source import ExportSource

_BATCHES = (1, 3)  # of what takes any number: an example of 2 hides what became a constant
_ODD = (33, 47)  # pixels beside the network's own size, of what takes any
_HALF_TOLERANCE = 2e-2  # of the spread of logits, where 8 to 11 bits are kept


def verify(
    entry: ExporterEntry, source: ExportSource, manifest: Manifest, options: ExportOptions
) -> Manifest:
    """Load back what was written and compare it with the network.

    Configs must say the network; what computes must give its logits at every batch and size it
    takes, on images of noise. Comparisons that an exporter made itself are kept.

    Returns: the manifest with what was checked.

    Raises:
        ExportError: it cannot be loaded back, or differs; says by how much.
    """
    if entry.read_back is not None:
        _compare_configs(entry, source, manifest)
    reason = "" if entry.not_run_here is None else entry.not_run_here()
    if reason:
        return replace(manifest, notes=(*manifest.notes, f"Written, not run: {reason}"))
    if entry.load_back is None:
        return manifest
    checks = tuple(_compare_outputs(entry, source, manifest, options))
    return replace(manifest, checks=(*manifest.checks, *checks))


def difference(ours: Sequence[Tensor], theirs: Sequence[Tensor], measure: Measure) -> float:
    """How far outputs differ, see `Measure`; infinite where shapes differ or a number is none.

    Args:
        ours: the reference, any shapes.
        theirs: as many, of the same shapes.
        measure: which difference.
    """
    import torch

    if [t.shape for t in ours] != [t.shape for t in theirs]:
        return float("inf")
    a = torch.cat([t.flatten().double() for t in ours])
    b = torch.cat([t.flatten().double() for t in theirs])
    if not b.isfinite().all():
        return float("inf")
    if measure == "rms":
        return float((a - b).square().mean().sqrt() / a.std().clamp_min(1e-12))
    return float((a - b).abs().max() / a.abs().max().clamp_min(1.0))


def _compare_configs(entry: ExporterEntry, source: ExportSource, manifest: Manifest) -> None:
    assert entry.read_back is not None
    back = entry.read_back(manifest)
    if back.key != source.arch.key:
        raise ExportError(
            f"--format {manifest.format}: must say the network that went in, {source.arch.key} "
            f"(got {back.key}). It is a fault of the exporter; nothing was written."
        )


def _compare_outputs(
    entry: ExporterEntry, source: ExportSource, manifest: Manifest, options: ExportOptions
) -> Iterator[Check]:
    import torch

    assert entry.load_back is not None
    half = options.precision != "fp32"
    measure: Measure = "rms" if half else entry.measure
    tolerance = max(entry.tolerance, _HALF_TOLERANCE) if half else entry.tolerance
    reference = source.model if entry.reference is None else entry.reference(source)
    loaded = _load(entry, manifest)
    generator = torch.Generator().manual_seed(0)
    for shape in _list_shapes(entry, source, manifest):
        images = torch.randn(shape, generator=generator)
        try:
            with torch.inference_mode():
                expected, got = reference(images), loaded(images)
        except Exception as error:  # a runtime's own errors
            raise _refusal(manifest, shape, one_line(error)) from error
        largest = difference(_as_list(expected), _as_list(got), measure)
        if not largest <= tolerance:
            raise _refusal(manifest, shape, f"a difference of {largest:.2g}, {measure}", tolerance)
        yield Check(shape, largest, tolerance, measure=measure)


def _load(
    entry: ExporterEntry, manifest: Manifest
) -> Callable[[Tensor], Tensor | Sequence[Tensor]]:
    assert entry.load_back is not None
    try:
        return entry.load_back(manifest)
    except SmtNasError:
        raise
    except Exception as error:  # a runtime's own errors
        raise ExportError(
            f"--format {manifest.format}: must be loaded back (got {one_line(error)}). Nothing "
            "was written."
        ) from error


def _list_shapes(
    entry: ExporterEntry, source: ExportSource, manifest: Manifest
) -> Iterator[tuple[int, int, int, int]]:
    """Shapes (B, C, H, W): two batches and two sizes, where they are not fixed."""
    channels, own = source.arch.in_channels, manifest.image_size or source.arch.image_size
    batches = _BATCHES if manifest.batch is None else (manifest.batch,)
    for batch in batches:
        yield (batch, channels, own, own)
    if manifest.image_size is None:
        yield (batches[-1], channels, own + _ODD[0], own + _ODD[1])


def _as_list(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    import torch

    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def _refusal(
    manifest: Manifest, shape: tuple[int, ...], got: str, tolerance: float | None = None
) -> ExportError:
    within = "run" if tolerance is None else f"agree with the network within {tolerance:g}"
    return ExportError(
        f"--format {manifest.format}: what was written must {within} on images of "
        f"{tuple(shape)} (got {got}). Nothing was kept; choose another format."
    )
