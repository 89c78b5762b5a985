"""Two real processes of torchrun: one is killed, both go on, and they evaluate together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.terminal import invoke
from tests.fakes.trainings import assert_same_tensors, last_checkpoint

ROOT = Path(__file__).resolve().parents[2]
WATCHDOG_S = 600
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
CHANGES = ("images=240", "batch_size=20", "ema.decay=0.9", "augment.mixup=0.2")
TRAIN = ["train", "smt_micro", "--data", "digits", "--epochs", "1", "--save-updates", "1"]
TRAIN += [word for change in CHANGES for word in ("--set", change)]
DIES = """
import os, signal

rename = os.rename

def rename_and_die(source, target):
    rename(source, target)
    if os.environ["RANK"] == "0" and str(target).endswith("update-0000003"):
        os.kill(os.getpid(), signal.SIGKILL)

os.rename = rename_and_die

from smt_nas.cli import main
main()
"""
GOES_ON = f"""
import json, sys
from pathlib import Path
from smt_nas.report.train.evaluation import score_document
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.evaluate_weights import EvalRequest, evaluate_weights
from smt_nas.train.processes.process_group import join_process_group
from smt_nas.train.run import start_training
from smt_nas.train.train_config import RunOptions, TrainRequest

request = TrainRequest("smt_micro", "digits", epochs=1, changes={CHANGES!r})
with join_process_group("cpu") as group:
    for run in map(Path, sys.argv[1:]):
        start_training(request, RunOptions(), run, True, group, NullProgress())
    result = evaluate_weights(EvalRequest(weights=run), group, NullProgress())
    if group.is_main:
        print(json.dumps(score_document(result)))
"""


def launch(program, code, *words):
    """Run a program in two processes; it takes them seconds to start."""
    program.write_text(code)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHONWARN")}
    return subprocess.run(
        [sys.executable, *TORCHRUN, str(program), *words],
        env=env | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
    )


@pytest.mark.slow
def test_two_processes_survive_a_sigkill_bit_for_bit_and_evaluate_as_one(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    killed = launch(tmp_path / "dies.py", DIES, *TRAIN, "--out", str(broken))
    assert killed.returncode != 0, killed.stderr
    *_, last = sorted((broken / "checkpoints").glob("update-*"))
    assert last.name == "update-0000003" and not (broken / "best.safetensors").exists()

    ended = launch(tmp_path / "goes_on.py", GOES_ON, str(broken), str(whole))
    assert ended.returncode == 0, ended.stderr
    assert_same_tensors(last_checkpoint(whole), last_checkpoint(broken))

    two = json.loads(ended.stdout)
    one = json.loads(invoke("eval", whole, "--json").stdout)
    assert (two["processes"], one["processes"]) == (2, 1)
    for document in (one, two):
        for name in ("loss", "loss_error"):
            document["score"][name] = round(document["score"][name], 5)
    assert two["score"] == one["score"]  # 355 images are no multiple of two
