"""What a training shows: the bar, a line an epoch, and what came of it, at 80 columns."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from rich.console import Console

from smt_nas.cli import console
from smt_nas.cli.training import training_talk
from smt_nas.report.train.dry_run import marks_of, plan_document, plan_notes, plan_view, sparkline
from smt_nas.report.train.results import (
    comparison_document,
    comparison_notes,
    comparison_table,
    epoch_line,
    result_document,
    result_notes,
    result_table,
)
from smt_nas.runtime.progress import EpochMetrics, TrainingStatus, TrainingWarning
from smt_nas.train.dry_run import DryRun
from smt_nas.train.evaluation import wilson_interval
from smt_nas.train.front_training import ComparedNetwork, TrainingComparison
from tests.fakes.terminal import Bars, Clock, printed
from tests.fakes.trainings import result

FINISHED = result()
BEST = FINISHED.best
PLAN = DryRun(
    recipe_yaml="epochs: 300\n",
    data="/data/imagenet",
    classes=1000,
    train_n=1_153_051,
    validation_n=50_000,
    processes=8,
    batch=128,
    images_an_update=1024,
    updates_an_epoch=1126,
    updates=337_800,
    curve=((0, 2e-7), (5630, 2e-3), (80_000, 1.7e-3), (168_000, 1e-3), (337_799, 2e-6)),
    parameters=11_548_992,
    macs=2_461_000_000,
    memory_mb={
        "weights": 46.2,
        "gradients": 46.2,
        "optimizer": None,
        "ema": 0.0,
        "activations": 21_000.4,
        "total": None,
    },
    recipe_name="imagenet1k",
    recipe_chosen=True,
    warnings=(),
)


def entrant(name, top1, **more):
    runs = tuple(Path(f"{name}-{i}") for i in range(len(top1)))
    values = {"arch_key": "0" * 12, "macs": 2.4e9, "parameters": 11.5e6, "baseline": False}
    speeds = tuple(1000.0 + i for i in range(len(top1)))
    return ComparedNetwork(name=name, runs=runs, top1=top1, images_per_s=speeds, **values | more)


COMPARED = TrainingComparison(
    folder=Path("runs/s/trained"),
    data="digits",
    recipe="small",
    seeds=(0, 1, 2),
    validation_n=145,
    networks=(
        entrant("0", (0.9, 0.92, 0.94)),
        entrant("1", (0.5, None)),
        entrant("2", ()),
        entrant("smt_t", (0.9, 0.9, 0.9), baseline=True),
    ),
)


def test_an_epochs_line():
    assert epoch_line(BEST, 300) == (
        "epoch 300/300: loss 2.718, validation top-1 91.23 %, validation loss 0.877, img/s 12346, "
        "waiting 3 %, process peak MB 78123"
    )
    assert epoch_line(EpochMetrics(epoch=2, train_loss=1.0)) == "epoch 2: loss 1.000"


def test_what_came_of_a_training():
    text = printed(result_table(FINISHED))
    low, high = wilson_interval(9123, 10000)
    for told in ("trained", "91.23", f"{100 * low:.2f} to {100 * high:.2f}", "300", "3 %"):
        assert told in text
    notes = "\n".join(result_notes(FINISHED))
    assert "Weights: runs/a/best.safetensors" in notes and "Next: smt-nas eval runs/a" in notes
    assert "skipped" not in notes and "unreadable" not in notes and "--workers" not in notes


def test_what_went_wrong_is_told():
    names = {f"{i}.jpg": "cut off" for i in range(5)}
    other = replace(
        FINISHED, skipped=7, unreadable=names, waiting_share=0.4, interrupted=True, best=None
    )
    notes = "\n".join(result_notes(other))
    assert "Skipped: 7 of 375,300 updates" in notes
    assert "Left out, as unreadable: 5 images: " in notes and "2.jpg (cut off); and 2 more" in notes
    assert "40% of the time" in notes and "--workers" in notes
    assert "Next: smt-nas train --out runs/a --resume auto" in notes
    printed(result_table(other))
    nothing = replace(other, weights=None, images_per_s=None, waiting_share=None, history=())
    assert "Weights" not in "\n".join(result_notes(nothing))
    assert json.loads(json.dumps(result_document(nothing), allow_nan=False))["best"] is None


def test_the_document_of_a_training():
    odd = replace(FINISHED, history=(EpochMetrics(1, train_loss=float("inf")),))
    found = json.loads(json.dumps(result_document(odd), allow_nan=False))
    assert (found["schema"], found["kind"], found["provenance"]) == (1, "training", "trained")
    (first,) = found["history"]
    assert (first["epoch"], first["train_loss"]) == (1, None)
    assert list(first) == [field.name for field in fields(EpochMetrics)]
    ends = found["best"]["val_top1_low"], found["best"]["val_top1_high"]
    assert ends == pytest.approx(wilson_interval(9123, 10000))


def test_a_plan_at_80_columns():
    text = printed(plan_view(PLAN))
    for told in ("epochs: 300", "337800 in all", "1,024 images: 128 a step x 8 processes x 1 step"):
        assert told in text
    lines = [line.split("│") for line in text.splitlines() if "│" in line]
    cells = {line[0].strip(): [c.strip() for c in line[1:]] for line in lines}
    assert cells["peak"] == ["5630", "0.002"] and cells["end"] == ["337799", "2e-06"]
    assert cells["optimizer"] == ["-"] == cells["total"]
    assert any("2.46 GMACs" in line for line in plan_notes(PLAN))
    found = json.loads(json.dumps(plan_document(PLAN), allow_nan=False))
    assert found["schema"] == 1 and found["memory_mb"]["total"] is None
    assert [m["at"] for m in found["rates"]] == ["start", "peak", "25%", "50%", "75%", "end"]


def test_what_is_to_be_feared_is_told_before_and_after():
    warnings = (
        TrainingWarning("few_updates", 4, 200),
        TrainingWarning("short_average", 4, 10_000),
        TrainingWarning("few_held_out", 30, 0.0861),
        TrainingWarning("loss_rose", 3.5, 1.6),
        TrainingWarning("chance", 0.233, 0.2),
    )
    told = (
        "4 updates in all",
        "remembers 10,000 updates",
        "has 30 images: one is 3.3 points of accuracy, its standard error about 8.6",
        "the loss rose, from 1.6 to 3.5",
        "top-1 23.3% is not surely better than chance, 20.0%",
    )
    for lines in (
        plan_notes(replace(PLAN, warnings=warnings)),
        result_notes(replace(FINISHED, warnings=warnings)),
    ):
        assert all(any(words in line for line in lines) for words in told)
    assert "imagenet1k, chosen and fitted" in printed(plan_view(PLAN))
    assert "chosen" not in printed(plan_view(replace(PLAN, recipe_chosen=False)))
    found = json.loads(json.dumps(result_document(replace(FINISHED, warnings=warnings))))
    assert found["warnings"][0] == {"kind": "few_updates", "value": 4, "of": 200}
    assert found["best"]["val_top1_standard_error"] == pytest.approx(0.00283, rel=1e-2)


def test_marks_are_in_order_of_updates():
    late = ((0, 0.0), (25, 1.0), (50, 2.0), (75, 3.0), (90, 4.0), (100, 1.0))
    assert [at for at, *_ in marks_of(late)] == ["start", "25%", "50%", "75%", "peak", "end"]


def test_a_curve_in_characters():
    assert sparkline([0, 1, 2, 4, 2, 0]) == "▁▃▅█▅▁"
    assert sparkline([0.0, 0.0]) == "▁▁"


def test_a_comparison_at_80_columns():
    text = printed(comparison_table(COMPARED))
    rows = {line.split()[0]: line.split("│") for line in text.splitlines() if "│" in line}
    cells = {name: [c.strip() for c in row[3:]] for name, row in rows.items()}
    low, high = wilson_interval(0.92 * 145, 145)
    ends = f"{100 * low:.2f} to {100 * high:.2f}"
    assert cells["0"] == ["92.00", "2.00", ends, "3", "1001"]
    assert cells["1"][:2] == ["50.00", "-"] and cells["2"] == ["-", "-", "-", "0", "-"]
    assert text.index("smt_t") > text.index("──")  # below a line of its own
    notes = "\n".join(comparison_notes(replace(COMPARED, interrupted=True)))
    assert "Not trained with all seeds: 1, 2." in notes and "--resume auto" in notes


def test_the_document_of_a_comparison():
    found = json.loads(json.dumps(comparison_document(COMPARED), allow_nan=False))
    first, _, third, smt_t = found["networks"]
    assert first["top1"]["mean"] == pytest.approx(0.92)
    assert first["top1"]["std"] == pytest.approx(0.02)
    ends = first["top1"]["low"], first["top1"]["high"]
    assert ends == pytest.approx(wilson_interval(0.92 * 145, 145))
    assert third["top1"]["mean"] is None and third["top1"]["low"] is None
    assert smt_t["baseline"] and smt_t["provenance"]["top1"] == "trained"


def status(epoch, done, epochs=2, total=28):
    return TrainingStatus(
        epoch=epoch,
        epochs=epochs,
        done=done,
        total=total,
        loss=12.3456,
        lr=2.04e-3,
        images_per_s=12345.6,
        memory_mb=123_456.0,
    )


def act(listener):
    listener.say("begun")
    for done in (200_000, 200_400):
        listener.update(status(160, done, 300, 375_300))
    listener.evaluated(10, 145)
    listener.epoch(BEST)
    listener.evaluated(10, None)


def test_elsewhere_than_on_a_terminal_lines_are_plain(capsys):
    with training_talk.training() as listener:
        act(listener)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["begun", epoch_line(BEST, 300)]  # its last: no time is left


def test_elsewhere_an_epoch_tells_the_time_left_and_a_long_one_tells_every_minute(capsys):
    clock = Clock()
    listener = training_talk.TrainingTalk(Bars(), clock)
    for done in range(1, 15):
        clock.now += 10
        listener.update(status(epoch=1, done=done))
    listener.evaluated(64, 145)
    clock.now += 60
    listener.evaluated(128, 145)
    listener.epoch(replace(BEST, epoch=1))
    lines = capsys.readouterr().err.splitlines()
    figures = "12346 img/s loss 12.346 lr 2.0e-3 123.5 GB"
    assert lines == [
        f"epoch 1/2: update 6 of 28, {figures}, 3:40 left",
        f"epoch 1/2: update 12 of 28, {figures}, 2:40 left",
        "evaluating: 128/145 images",
        f"{epoch_line(replace(BEST, epoch=1), 2)}, 1:20 left",
    ]


def test_only_one_process_talks(capsys):
    with training_talk.training(False) as listener:
        act(listener)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_the_bar_fits_80_columns(monkeypatch):
    made = Console(width=80, force_terminal=True, color_system=None, record=True)
    monkeypatch.setattr(console, "make_talk_console", lambda: made)
    with training_talk.training() as listener:
        act(listener)
        listener._progress.refresh()
        plain = Console(width=80, color_system=None)
        with plain.capture() as captured:
            plain.print(listener._progress.get_renderable())
    training, evaluating = captured.get().splitlines()
    days = len("100:00:00") - len("-:--:--")
    assert len(training.rstrip()) + days <= 80 and len(evaluating) <= 80
    assert training.startswith("epoch 160/300 ") and " 53% " in training
    assert training.rstrip().endswith("12346 img/s loss 12.346 lr 2.0e-3 123.5 GB")
    assert evaluating.startswith("evaluating") and "10 images" in evaluating
    assert "begun" in made.export_text() and "…" not in training


@pytest.mark.parametrize(
    ("lr", "text"), [(2e-3, "2.0e-3"), (1.25e-7, "1.2e-7"), (0.1, "1.0e-1"), (3.0, "3.0e0")]
)
def test_learning_rates_in_few_characters(lr, text):
    assert training_talk.short_rate(lr) == text
