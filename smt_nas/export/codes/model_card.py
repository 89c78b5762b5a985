"""README.md of a network that is handed over: what it is, and what is known of it, no more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from smt_nas import __version__, costs
from smt_nas.errors import format_count
from smt_nas.export.codes.image_preparation import find_image_preparation

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource
    from smt_nas.train.weights.card import Card

_USE = """```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

folder = "."  # this one
processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)
inputs = processor(Image.open("photo.jpg"), return_tensors="pt")
with torch.inference_mode():
    label = int(model(**inputs).logits.argmax())
print(model.config.id2label[label])
```"""


def write_model_card(source: ExportSource, name: str) -> str:
    """The text, with the front matter that the Hugging Face hub reads."""
    lines = ["---", "library_name: transformers", "pipeline_tag: image-classification"]
    lines += ["tags:", "- smt", "- image-classification", "---", "", f"# {name}", ""]
    lines += [*_describe_network(source), "", "## Use", "", _USE, ""]
    lines += [find_image_preparation(source).describe(), ""]
    lines += ["`trust_remote_code` runs the two .py files of this folder; read them first.", ""]
    lines += ["## Weights", "", *_describe_weights(source), "", "## Not known", ""]
    lines += [*_describe_limits(source), ""]
    return "\n".join(lines)


def _describe_network(source: ExportSource) -> Iterator[str]:
    arch = source.arch
    cost = costs.of(arch)
    yield (
        f"A network of the SMT family (Lin et al., Scale-Aware Modulation Meet Transformer, ICCV "
        f"2023, arXiv 2307.08579), key {arch.key}, written by smt-nas {__version__}."
    )
    yield ""
    yield f"- {cost.params / 1e6:.2f} M parameters, by formula"
    yield (
        f"- {cost.macs / 1e9:.3f} G multiply-accumulates at {arch.image_size} px, attention "
        "included, by formula"
    )
    depths = ", ".join(str(stage.depth) for stage in arch.stages)
    yield f"- blocks: {depths}; channels: {', '.join(str(s.dim) for s in arch.stages)}"
    yield f"- {arch.num_classes} classes"


def _describe_weights(source: ExportSource) -> Iterator[str]:
    weights = source.weights
    if source.state is None:
        yield "Fresh, drawn by seed 0: **not trained**. Good for timing, and to train on."
    elif weights.card is not None:
        alone = weights.card.inherited is None
        how = "trained by smt-nas" if alone else "trained by smt-nas together with other networks"
        yield f"`{weights.describe()}`, {how}:"
        yield ""
        yield from _describe_training(weights.card)
    elif weights.official:
        yield f"`{weights.describe()}`, of the published code; not evaluated by smt-nas."
    else:
        yield f"`{weights.describe()}`, which say nothing of their training."


def _describe_training(card: Card) -> Iterator[str]:
    yield f"- data: {card.data}; recipe: {card.recipe}; seed: {card.seed}"
    length = f"{format_count(card.epoch, 'epoch')} ({format_count(card.update, 'update')})"
    yield f"- trained at {card.image_size} px for {length}"
    if card.weights == "ema":
        yield "- these are the moving average of the weights"
    if card.validation:
        figures = [(n, v) for n, v in card.validation.items() if math.isfinite(v)]
        measured = ", ".join(f"{name} {value:.4g}" for name, value in figures)
        yield f"- measured on {_describe_split(card)}: {measured}"
    if card.versions:
        yield f"- versions: {', '.join(f'{k} {v}' for k, v in sorted(card.versions.items()))}"


def _describe_split(card: Card) -> str:
    if card.split is None:
        return "the validation split of the data"
    share = f"{100 * card.split.fraction:g} %"
    return f"{share} of the training images, held out by seed {card.split.seed}"


def _describe_limits(source: ExportSource) -> Iterator[str]:
    card = source.weights.card
    if card is None or not card.validation:
        yield "- Its accuracy was not measured."
    elif card.image_size != source.arch.image_size:
        yield f"- Its accuracy at {source.arch.image_size} px was not measured."
    if source.state is not None and source.transform is None:
        yield (
            "- The weights do not say how images were prepared; what stands here is usual for "
            "ImageNet."
        )
    yield "- Its speed depends on the machine: `smt-nas profile` measures it."
