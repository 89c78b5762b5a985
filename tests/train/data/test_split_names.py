"""Names of splits as people spell them, and names that only look like some."""

import pytest

from smt_nas.errors import TrainingError
from smt_nas.train.data.split_names import assign_splits, parse_split

SPELT = {
    "train": """
        train Train TRAIN training Training TRAINING trn TRN train_set trainset TrainSet train-set
        training_set seg_train images_train train_images dataset_train train2017 train1 trainval
        train_val TrainingData traindata imagestrain Train.Set trainA""",
    "validation": """
        val Val VAL valid Valid validation Validation val_set valset ValSet validation_set seg_val
        images_val val2017 dev Dev eval Eval evaluation validating val_v2 imagesval
        cross-validation""",
    "test": """
        test Test TEST testing Testing TESTING tst tests test_set testset TestSet seg_test test1
        images_test test2017 holdout hold-out held_out HoldOut PublicTest test-data""",
}
NONE = """
    trainer trains valley value attest testimony contest latest protest device develop devil
    training_test train_test_split evaluator cat 0 test_train strain restrain invalid"""


@pytest.mark.parametrize(
    ("name", "split"), [(name, split) for split in SPELT for name in SPELT[split].split()]
)
def test_every_usual_spelling_in_any_case(name, split):
    assert parse_split(name).split == split


@pytest.mark.parametrize("name", NONE.split())
def test_words_that_only_begin_or_end_like_one(name):
    assert parse_split(name) is None


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("train eval", {"train": "train", "validation": "eval"}),
        ("train val eval", {"train": "train", "validation": "val", "test": "eval"}),
        ("train eval test", {"train": "train", "validation": "eval", "test": "test"}),
        ("train holdout", {"train": "train", "test": "holdout"}),
        ("train holdout test", {"train": "train", "validation": "holdout", "test": "test"}),
    ],
)
def test_eval_and_holdout_are_what_the_others_leave(names, splits):
    assert assign_splits("x", {name: parse_split(name) for name in names.split()}) == splits


def test_two_names_of_a_split_are_named():
    named = {name: parse_split(name) for name in ("test1", "test2", "train")}
    with pytest.raises(TrainingError, match=r"one test split \(got test1 and test2\)"):
        assign_splits("here", named)
