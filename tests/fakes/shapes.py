"""Folders of JPEGs that can be told apart: coloured shapes on noisy grounds."""

import numpy as np
from PIL import Image, ImageDraw

CLASSES = {
    "circle": (220, 60, 50),
    "cross": (60, 90, 220),
    "ring": (60, 170, 80),
    "square": (230, 190, 50),
    "triangle": (160, 70, 190),
}


def shapes(root, images, side=48, seed=0):
    """`images` JPEGs in five class folders, of some place, size and shade."""
    rng = np.random.default_rng(seed)
    for i in range(images):
        name, colour = list(CLASSES.items())[i % len(CLASSES)]
        (root / name).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(90, 170, (side, side, 3), dtype=np.uint8))
        shade = tuple(int(np.clip(c + rng.integers(-40, 40), 0, 255)) for c in colour)
        r = int(side * rng.uniform(0.2, 0.3))
        x, y = (int(rng.integers(r, side - r)) for _ in range(2))
        _draw(ImageDraw.Draw(picture), name, x, y, r, shade)
        picture.save(root / name / f"{i}.jpg", quality=90)
    return root


def _draw(pen, name, x, y, r, colour):
    box, width = (x - r, y - r, x + r, y + r), max(2, r // 3)
    if name == "circle":
        pen.ellipse(box, fill=colour)
    elif name == "ring":
        pen.ellipse(box, outline=colour, width=width)
    elif name == "square":
        pen.rectangle(box, fill=colour)
    elif name == "triangle":
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=colour)
    else:
        pen.line((x - r, y - r, x + r, y + r), fill=colour, width=width)
        pen.line((x - r, y + r, x + r, y - r), fill=colour, width=width)
