"""int8: what it costs and gains is told; slower and worse is refused; calibration needs images."""

import pytest
from PIL import Image

from smt_nas.errors import ConfigError, ExportError
from smt_nas.export import ExportSource
from smt_nas.export.graphs.calibration import read_calibration_images
from smt_nas.export.graphs.int8 import Int8Effect, refuse_loss
from tests.fakes.networks import TINY


@pytest.mark.parametrize(
    ("deviation", "agreement", "verdict", "refused"),
    [
        (0.05, 0.9, "SLOWER", True),
        (0.001, 0.9, "SLOWER", True),
        (0.001, 1.0, "SLOWER", False),
        (0.05, 0.9, "FASTER", False),
        (0.05, 0.9, "UNCLEAR", False),
    ],
)
def test_slower_and_worse_is_refused(deviation, agreement, verdict, refused):
    effect = Int8Effect(deviation, agreement, 64, 1.0, 2.0, verdict)
    if not refused:
        refuse_loss(effect, "images of noise")
        return
    with pytest.raises(ExportError, match=r"slower|faster") as caught:
        refuse_loss(effect, "images of noise")
    assert f"{deviation:.1%}" in str(caught.value) and "2.00x" in str(caught.value)


def test_calibration_images_are_prepared_for_the_network(tmp_path):
    for folder, size in (("a", (40, 60)), ("b", (32, 32))):
        (tmp_path / folder).mkdir()
        Image.new("RGB", size, (255, 0, 0)).save(tmp_path / folder / "x.png")
    images = read_calibration_images(tmp_path, ExportSource("net", TINY))
    assert images.shape == (2, 3, 32, 32) and images.dtype == "float32"
    assert images[0, 0].mean() > 2 > images[0, 1].mean()  # red, normalised as ImageNet


def test_calibration_without_images_or_with_a_broken_one(tmp_path):
    source = ExportSource("net", TINY)
    with pytest.raises(ConfigError, match="must hold images"):
        read_calibration_images(tmp_path, source)
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"x\.png"):
        read_calibration_images(tmp_path, source)
