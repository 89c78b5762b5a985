"""What evaluators are told: a pydantic model each, as run.yaml keeps it. Free of torch.

A field of the name of an option of `smt-nas search` (`data`, `bench`, ...) is set by that option.
Make them with `yaml.validated` for errors in one line.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

SUPERNET_PREFIX = "supernet:"
"""Before the folder of a supernet, where an evaluator or weights are named."""


class EvaluatorConfig(BaseModel):
    """Common to all: frozen, and picklable, so that it travels to worker processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FunctionTarget(EvaluatorConfig):
    """A user's own function.

    Attributes:
        target: `package.module:function`.
    """

    target: str


class TrainedSupernet(EvaluatorConfig):
    """The supernet whose weights networks are rated with.

    Attributes:
        run: folder of its training.
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
    """

    run: Annotated[str, Field(min_length=1, examples=["runs/supernet"])]
    device: str | None = None


class TrainedNetworks(EvaluatorConfig):
    """The networks that a predictor is fitted to.

    Attributes:
        bench: folder or CSV of a bench of one's own; None for the shipped one.
    """

    bench: str | None = Field(default=None, examples=["runs/bench-smt_micro-digits"])


class ShortTraining(EvaluatorConfig):
    """What networks are trained for.

    Attributes:
        data: as `load_source` takes it.
        epochs: of a network that goes all the way; the learning rate is run down over these.
        recipe: name or path; None chooses by image size and number of images, and fits it to few
            images. Its share of warm-up is kept.
        changes: of the recipe, `field=value`.
        image_size: pixels; None for the networks' own, or the recipe's.
        seed: the same seed gives the same trainings; all networks share it, and so their split.
        eta: about one network in so many goes on from each rung.
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
    """

    data: str = Field(examples=["digits"])
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 4
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    image_size: Annotated[int, Field(ge=32, le=8192)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    eta: Annotated[int, Field(ge=2, le=1_000)] = 3
    device: str | None = None

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides the figures, as JSON has it."""
        return self.model_dump(mode="json", exclude={"device"})
