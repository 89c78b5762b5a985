"""Recipes of a few updates, as a user writes them."""


def quick(epochs=1, images=200, more=""):
    """The text of one; `more` are further lines."""
    return f"""
epochs: {epochs}
batch_size: 50
images: {images}
optimizer: {{lr: 1.0e-3, lr_per: null, warmup_lr: 0, min_lr: 0}}
augment: {{crop_scale: null, flip: 0.0, label_smoothing: 0.0}}
evaluation: {{resize: direct}}
{more}
"""
