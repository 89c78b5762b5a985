"""The tables of a proof that is there, and what it refuses: the program as it is run by hand."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from smt_nas.arch import preset

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 2000
RIGHT = {  # share of the test images that a candidate gets right, at each budget
    "cifar10-4MMACs": {"published-deep": 0.6, "published-even": 0.5, "default": 0.7},
    "cifar10-8MMACs": {"published-deep": 0.6, "published-even": 0.7, "default": 0.6},
}


def run(*words):
    command = [sys.executable, "-m", "benchmarks.proof", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def write_row(folder, arch, seed, right):
    """A training whose network is right about the first of the images, and some drawn."""
    labels = np.arange(IMAGES) % 10
    rng = np.random.default_rng([seed, round(1000 * right)])
    wrong = rng.random(IMAGES) > right
    predicted = np.where(wrong, (labels + 1) % 10, labels).astype(np.uint8)
    np.save(folder / "predictions" / f"cifar10-{arch.key}-{seed}.npy", predicted)
    np.save(folder / "predictions" / "cifar10-labels.npy", labels)
    top1 = float(np.mean(predicted == labels))
    return {"data": "cifar10", "key": arch.key, "seed": seed, "val_top1": top1} | {
        "test_top1": top1,
        "images_per_s": 100,
        "device": "a processor",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A proof of two budgets with two seeds, whose trainings are made up."""
    folder = tmp_path_factory.mktemp("proof")
    (folder / "predictions").mkdir()
    base, rows = preset("smt_micro"), []
    for depth, (label, shares) in enumerate(RIGHT.items(), 1):
        place = folder / "candidates" / label
        place.mkdir(parents=True)
        for width, (name, share) in enumerate(shares.items(), 1):
            first = base.stages[0].model_copy(update={"dim": 16 * width, "depth": depth})
            arch = base.model_copy(update={"stages": (first, *base.stages[1:])})
            arch.save(place / f"{name}.yaml")
            if name == "default":
                arch.save(place / "before.yaml")
            rows += [write_row(folder, arch, seed, share) for seed in (0, 1)]
        (place / "supernet.txt").write_text("supernet: there is none\n")
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (folder / "proof.csv").write_text(text.getvalue() + "cifar10,torn")
    settings = {
        "budgets_mmacs": [4.0, 8.0],
        "epochs": 10,
        "images": 22500,
        "test_images": None,
        "precision": "fp32",
        "changes": [],
        "short_train": [16, 3, 5000],
        "labels": {"cifar10": "0"},
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def printed(folder):
    done = run(folder, "--print")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pick_that_is_worse_than_the_better_reference_is_told(printed):
    verdict, four, eight = printed[printed.index("The default's pick") :].splitlines()[:3]
    assert verdict.endswith("beyond noise: no, in 1 of 2.")
    assert four.startswith("  cifar10-4MMACs: better, +") and "eight" not in four
    assert eight.startswith("  cifar10-8MMACs: WORSE, -")


def test_a_pick_that_beats_the_better_reference_is_told(printed):
    verdict, win = printed[printed.index("Some pick beats it") :].splitlines()[:2]
    assert verdict.endswith("interval clear: yes, 1 of 2 comparisons.")
    assert win.startswith("  cifar10-4MMACs default: +")


def test_a_difference_is_to_the_reference_that_is_more_accurate(printed):
    rows = [line.split("│") for line in printed.splitlines() if "│" in line]
    references = [cells[0].strip() for cells in rows if cells[-1].strip() == "reference"]
    assert references == ["published-deep", "published-even"]


def test_a_network_that_two_ways_chose_is_named_so(printed):
    assert printed.count("before = default") == 2


def test_what_is_left_out_is_told_once(printed):
    assert printed.count("supernet: there is none") == 1


def test_another_budget_in_the_folder_is_refused_in_a_line(folder):
    done = run(folder, "--budgets", "5", "--space", "smt_micro", "--device", "cpu")
    assert done.returncode == 1 and not done.stdout
    message = done.stderr.strip()
    assert "\n" not in message and "holds a proof with budgets_mmacs [4.0, 8.0]" in message


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    command = [sys.executable, "-m", "benchmarks.proof_statistics"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    shares = [float(line.split()[2].rstrip("%")) for line in done.stdout.splitlines()[1:]]
    assert len(shares) == 6 and min(shares) > 92
