"""Workers take turns in the GPUs that this process was shown."""

import os

import pytest

from smt_nas.runtime.engines.gpu_assignment import VISIBLE, list_assignable_gpus
from smt_nas.runtime.engines.process_pool import ProcessPool


@pytest.mark.parametrize(
    ("shown", "gpus"),
    [("0,2", ("0", "2")), ("GPU-a, GPU-b", ("GPU-a", "GPU-b")), ("3", ()), ("", ())],
)
def test_what_was_shown_is_shared_out(monkeypatch, shown, gpus):
    monkeypatch.setenv(VISIBLE, shown)
    assert list_assignable_gpus() == gpus


def test_each_worker_is_shown_one_in_turns():
    with ProcessPool(3, gpus=("4", "7")) as pool:
        shown = [answer for _, answer in pool.map_unordered(os.getenv, [VISIBLE] * 9, str)]
    assert set(shown) == {"4", "7"}
