"""Intersection over union by hand; ignored pixels and absent classes count nowhere."""

import numpy as np
import pytest

from smt_nas.train.scores.pixel_scores import ConfusionMatrix, PixelScores


def test_figures_by_hand():
    matrix = ConfusionMatrix(4)
    labels = np.array([[0, 0, 0, 1], [1, 1, 255, 255]], np.uint8)
    predictions = np.array([[0, 0, 1, 1], [1, 2, 3, 0]])
    matrix.add(predictions, labels)
    scores = matrix.scores()
    # class 0: 2 of 3; class 1: 2 of 4; class 2: predicted once, labelled never; class 3: neither
    assert scores.iou == pytest.approx((100 * 2 / 3, 50, 0, None))
    assert scores.miou == pytest.approx((100 * 2 / 3 + 50 + 0) / 3)
    assert scores.macc == pytest.approx(100 * (2 / 3 + 2 / 3) / 2)
    assert scores.aacc == pytest.approx(100 * 4 / 6)


def test_images_add_up():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(3, size=(2, 9, 5)).astype(np.uint8)
    whole, parts = ConfusionMatrix(3), ConfusionMatrix(3)
    whole.add(predictions, labels)
    parts.add(predictions[:4], labels[:4])
    parts.add(predictions[4:], labels[4:])
    assert parts.scores() == whole.scores()


def test_nothing_labelled_has_no_score():
    matrix = ConfusionMatrix(2)
    matrix.add(np.zeros((2, 2), np.int64), np.full((2, 2), 255, np.uint8))
    assert matrix.scores() == PixelScores(None, None, None, (None, None))
