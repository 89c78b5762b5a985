"""What a user must be warned of, in words: figures of an evaluation, a training that is in vain."""

from __future__ import annotations

from smt_nas.errors import format_count
from smt_nas.runtime.progress import EvalWarning, TrainingWarning


def warning_line(warning: EvalWarning | TrainingWarning) -> str:
    """One warning in one line."""
    if isinstance(warning, TrainingWarning):
        return _describe_training(warning)
    if warning.kind == "nonfinite":
        return (
            f"No finite outputs for {warning.count} of {format_count(warning.of, 'image')}: they "
            "count as wrong, and are not in the loss."
        )
    if warning.kind == "no_top5":
        return f"No top-5: of {warning.count} classes the right one is nearly always among five."
    return f"Left out, as unreadable: {format_count(warning.count, 'image')}."


def _describe_training(warning: TrainingWarning) -> str:
    value, of = warning.value, warning.of
    if warning.kind == "few_updates":
        return (
            f"Warning: {format_count(round(value), 'update')} in all. From less than {of:.0f} few "
            "networks learn much: use more --epochs, a smaller --set batch_size=…, or weights to "
            "start from (--init)."
        )
    if warning.kind == "short_average":
        return (
            f"Warning: the moving average remembers {format_count(round(of), 'update')} and the "
            f"training makes {value:.0f}: it will hardly leave the first weights. Use --set "
            "ema.warmup=true, or a smaller ema.decay."
        )
    if warning.kind == "loss_rose":
        return (
            f"Warning: the loss rose, from {of:.3g} to {value:.3g}: the rate is too high. Lower it "
            "with --set lr=…."
        )
    if warning.kind == "chance":
        return (
            f"Warning: top-1 {value:.1%} is not surely better than chance, {of:.1%} by naming the "
            "most frequent class always."
        )
    return (
        f"The validation split has {format_count(round(value), 'image')}: one is "
        f"{100 / max(value, 1):.1f} points of accuracy, its standard error about {100 * of:.1f}. "
        "Where it is held out, --set validation=… takes more."
    )
