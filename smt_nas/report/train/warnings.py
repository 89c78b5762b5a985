"""What a user must be warned of, in words: figures of an evaluation, a training that is in vain."""

from __future__ import annotations

from smt_nas.runtime.progress import EvalWarning, TrainingWarning


def warning_line(warning: EvalWarning | TrainingWarning) -> str:
    """One warning in one line."""
    if isinstance(warning, TrainingWarning):
        return _describe_training(warning)
    if warning.kind == "nonfinite":
        return (
            f"{warning.count} of {warning.of} images gave outputs that are no finite numbers: they "
            "count as wrong, and are not in the loss."
        )
    if warning.kind == "no_top5":
        return f"No top-5: of {warning.count} classes the right one is nearly always among five."
    return f"{warning.count} images could not be read and are left out."


def _describe_training(warning: TrainingWarning) -> str:
    value, of = warning.value, warning.of
    if warning.kind == "few_updates":
        return (
            f"Warning: {value:.0f} updates in all. From less than {of:.0f} few networks learn "
            "much: use more --epochs, a smaller --set batch_size=…, or weights to start from "
            "(--init)."
        )
    if warning.kind == "short_average":
        return (
            f"Warning: the moving average remembers {of:.0f} updates and the training makes "
            f"{value:.0f}: it will hardly leave the first weights. Use --set ema.warmup=true, or a "
            "smaller ema.decay."
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
        f"The validation split has {value:.0f} images: one is {100 / max(value, 1):.1f} points of "
        f"accuracy, its standard error about {100 * of:.1f}. Where it is held out, --set "
        "validation=… takes more."
    )
