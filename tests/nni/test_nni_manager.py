"""NNI's own manager runs an exported experiment on this machine, and is stopped."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from smt_nas.export.experiment import load_experiment, write_experiment
from smt_nas.search import Settings, create_search

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 240  # for what takes 20 s on a quiet machine
DRIVER = """
import json, sys, time
from nni.experiment import Experiment, ExperimentConfig

experiment = Experiment(ExperimentConfig.load("config.yml"))
try:
    experiment.start(int(sys.argv[1]))
    end = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        if experiment.get_status() in ("DONE", "ERROR", "STOPPED"):
            break
        time.sleep(0.5)
    trials = [
        {
            "status": job.status,
            "sample": job.hyperParameters[0].parameters,
            "reported": job.finalMetricData[0].data if job.finalMetricData else None,
        }
        for job in experiment.list_trial_jobs()
    ]
    told = {"status": experiment.get_status(), "pid": experiment._proc.pid, "trials": trials}
finally:
    experiment.stop()
print(json.dumps(told))
"""


def find_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop_managers(folder):
    """Stop what still runs of experiments in a folder, whatever became of who started it."""
    left = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder / "nni-experiments") in word for word in process.info["cmdline"] or ()):
            left.append(" ".join(process.info["cmdline"]))
            process.kill()
    return left


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nni") is None, reason="nni is not installed: smt-nas[nni]")
def test_two_trials_are_rated_and_reported_and_the_manager_is_stopped(tmp_path):
    settings = Settings(space="smt_micro", evaluator="capacity", objectives=("score", "macs"), n=2)
    create_search(settings, tmp_path / "run")
    folder = tmp_path / "experiment"
    write_experiment(tmp_path / "run", folder)
    home = tmp_path / "home"
    home.mkdir()
    env = {
        **os.environ,
        "HOME": str(home),
        "NNI_CONFIG_DIR": str(home / "config"),
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-c", DRIVER, str(find_port()), str(LIMIT_S)]
    driver = subprocess.Popen(
        words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = driver.communicate(timeout=LIMIT_S + 60)
    finally:
        driver.kill()
        left = stop_managers(folder)
    told = json.loads(output.splitlines()[-1])
    assert told["status"] == "DONE", output
    assert [trial["status"] for trial in told["trials"]] == ["SUCCEEDED"] * 2
    experiment = load_experiment(folder)
    for trial in told["trials"]:
        assert trial["reported"] == pytest.approx(experiment.rate(trial["sample"]))
    assert not left and not psutil.pid_exists(told["pid"])
    assert (folder / "nni-experiments").is_dir()
