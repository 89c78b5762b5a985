"""What a command does to its process before networks are trained in it: the process is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smt_nas.runtime.allocator import keep_freed_memory

if TYPE_CHECKING:
    from smt_nas.evaluators import Evaluator


def prepare_to_train(device: str | None) -> None:
    """Keep the memory that trainings on the CPU free; to be called before the first is begun.

    Args:
        device: where they run; None for a GPU, if there is one.
    """
    if device is None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        keep_freed_memory()


def prepare_to_evaluate(evaluator: Evaluator | None) -> None:
    """The same for a search whose evaluator trains: with one worker it does so in this process."""
    from smt_nas.evaluators import TrainingEvaluator

    if isinstance(evaluator, TrainingEvaluator):
        prepare_to_train(None)
