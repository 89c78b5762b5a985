"""Named sets: read where they lie, in either layout, with what is missing or damaged named."""

import gzip
import pickle

import numpy as np
import pytest
from scipy.io import savemat

from smt_nas.errors import TrainingError
from smt_nas.runtime.torchvision_ops import import_torchvision
from smt_nas.train.data.named import NAMED, load_digits, read_idx
from smt_nas.train.data.sources import load_source
from tests.fakes.images import idx, idx_set, pixels


def refusal(spec):
    with pytest.raises(TrainingError) as raised:
        load_source(spec)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.fixture
def unsigned(monkeypatch):
    """torchvision's sets of any content: their checksums are not looked at."""
    sets = import_torchvision().datasets
    for name in ("CIFAR10", "CIFAR100", "STL10"):
        of = getattr(sets, name)
        for part in ("train_list", "test_list"):
            monkeypatch.setattr(of, part, [[file, None] for file, _ in getattr(of, part)])
        if hasattr(of, "meta"):
            monkeypatch.setattr(of, "meta", of.meta | {"md5": None})
    unchecked = {k: [*v[:2], None] for k, v in sets.SVHN.split_list.items()}
    monkeypatch.setattr(sets.SVHN, "split_list", unchecked)
    return sets


def test_digits_are_whole_and_their_test_split_is_fixed():
    source = load_source("digits")
    assert source.classes == tuple("0123456789")
    assert (len(source.train), len(source.test)) == (1442, 355)
    assert np.bincount(source.test.labels).tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    assert source.test.labels[:12].tolist() == load_digits().test.labels[:12].tolist()
    assert source.train.image(0).size == (8, 8) and source.train.image(0).mode == "L"
    assert source.train.images.max() == 255
    assert not source.mirrors and source.validation is None
    assert source.mean == pytest.approx([source.train.images.mean() / 255] * 3)


def test_a_digit_is_in_one_split_only():
    source = load_digits()
    train = {image.tobytes() for image in source.train.images}
    assert len(train) == 1442  # all differ
    assert not train & {image.tobytes() for image in source.test.images}


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("inside", ["", "raw", "FashionMNIST/raw"])
def test_idx_files_in_either_layout(tmp_path, inside, compress):
    idx_set(tmp_path / inside, compress)
    source = load_source(f"fashion-mnist:{tmp_path}")
    assert (len(source.train), len(source.test)) == (20, 10)
    assert np.array_equal(source.train.images, pixels(20, 20, 28, 28))
    assert source.train.labels.tolist() == [i % 10 for i in range(20)]
    assert source.classes[0] == "T-shirt/top" and source.mirrors
    assert source.test.name(3) == f"fashion-mnist:{tmp_path} test image 3"


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_digits_and_characters_have_no_mirror_image(tmp_path, name):
    idx_set(tmp_path)
    source = load_source(f"{name}:{tmp_path}")
    assert len(source.classes) == 10 and not source.mirrors


def test_missing_files_are_named(tmp_path):
    idx_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    message = refusal(f"mnist:{tmp_path}")
    assert "got no train-labels-idx1-ubyte, t10k-labels-idx1-ubyte" in message
    assert "nothing is downloaded" in message


def test_a_folder_that_is_none(tmp_path):
    assert "got no such folder" in refusal(f"mnist:{tmp_path}/nowhere")
    assert "got an empty folder" in refusal(f"cifar10:{tmp_path}")
    (tmp_path / "file").write_bytes(b"1")
    assert "got a file" in refusal(f"svhn:{tmp_path}/file")
    assert "got no train_32x32.mat, test_32x32.mat" in refusal(f"svhn:{tmp_path}")
    assert "got no stl10_binary/train_X.bin" in refusal(f"stl10:{tmp_path}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (idx(pixels(0, 20, 28, 28))[:-5], "must be 15696 bytes long by its head (got 15691)"),
        (b"<html>", "got 3c 68 74 6d at its start"),
        (b"", "got nothing at its start"),
        (idx(pixels(0, 20)), "must be an IDX file of bytes in 3 dimensions"),
        (idx(pixels(0, 3, 28, 28)), "as many images as there are labels (got 3 and 20)"),
    ],
    ids=["cut off", "html", "empty", "labels", "too few"],
)
def test_a_damaged_idx_file(tmp_path, content, told):
    idx_set(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    assert told in refusal(f"mnist:{tmp_path}")


def test_labels_of_another_set(tmp_path):
    idx_set(tmp_path, classes=12)
    assert "labels must be below 10 (got 11)" in refusal(f"mnist:{tmp_path}")


@pytest.mark.parametrize("cut", [10, 20])
def test_a_gzip_file_cut_off(tmp_path, cut):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx(pixels(0, 9)))[:-cut])
    with pytest.raises(TrainingError, match=r"x.gz: cannot be read .*Fetch it anew"):
        read_idx(path, 1)


def cifar(root, of):
    base = root / of.base_folder
    base.mkdir(parents=True)
    for i, (name, _) in enumerate(of.train_list + of.test_list):
        content = {"data": pixels(i, 4, 3072), "labels": [0, 1, 2, 1], "fine_labels": [3, 1, 2, 1]}
        del content["labels" if of.__name__ == "CIFAR100" else "fine_labels"]
        (base / name).write_bytes(pickle.dumps(content))
    (base / of.meta["filename"]).write_bytes(pickle.dumps({of.meta["key"]: list("abcd")}))
    return base


@pytest.mark.parametrize(("name", "train"), [("cifar10", 20), ("cifar100", 4)])
def test_cifar_by_torchvision(tmp_path, unsigned, name, train):
    base = cifar(tmp_path, getattr(unsigned, NAMED[name].of))
    for place in (tmp_path, base):
        source = load_source(f"{name}:{place}")
        assert (len(source.train), len(source.test)) == (train, 4)
        assert source.train.image(0).mode == "RGB"
        red = pixels(0, 4, 3, 32, 32)[0, 0]
        assert np.array_equal(np.asarray(source.train.image(0))[..., 0], red)
        assert source.classes == tuple("abcd") and source.mirrors


def test_a_cifar_with_another_checksum_is_damaged(tmp_path):
    cifar(tmp_path, import_torchvision().datasets.CIFAR10)
    message = refusal(f"cifar10:{tmp_path}")
    assert "the files must be whole (got: RuntimeError: Dataset not found or corrupted" in message
    assert "download" not in message


def test_svhn_by_torchvision(tmp_path, unsigned):
    images = pixels(5, 32, 32, 3, 4)
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": np.array([[10], [1], [2], [9]])})
    source = load_source(f"svhn:{tmp_path}")
    assert source.train.labels.tolist() == [0, 1, 2, 9]
    assert np.array_equal(np.asarray(source.test.image(3)), images[..., 3])
    assert not source.mirrors


def test_stl10_by_torchvision(tmp_path, unsigned):
    base = tmp_path / "stl10_binary"
    base.mkdir()
    for part in ("train", "test", "unlabeled"):
        (base / f"{part}_X.bin").write_bytes(pixels(1, 2, 3, 96, 96).tobytes())
        (base / f"{part}_y.bin").write_bytes(bytes([1, 3]))
    (base / "class_names.txt").write_text("airplane\nbird\ncar\n")
    source = load_source(f"stl10:{tmp_path}")
    assert source.classes == ("airplane", "bird", "car")
    assert source.train.labels.tolist() == [0, 2]
    # its bytes are columns first
    assert np.array_equal(
        np.asarray(source.train.image(1)), pixels(1, 2, 3, 96, 96)[1].transpose(2, 1, 0)
    )
