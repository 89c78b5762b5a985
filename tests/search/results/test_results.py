"""Results, the front as a table and as files, and predictions against measurements."""

import csv

import pandas
import pytest

from smt_nas.arch import load_arch
from smt_nas.errors import StoreError
from smt_nas.evaluators import Evaluation
from smt_nas.search.results.prediction_errors import measure_prediction_errors
from smt_nas.search.results.results import (
    OP_COUNTERS,
    make_frame,
    make_result,
    select_front,
    write_front,
)
from smt_nas.search.storage.study_notes import Timing, Verification
from tests.fakes import devices as fakes
from tests.fakes.searches import SPACE, make_baselines, make_problem, make_trials, sample

COUNTS = dict.fromkeys(OP_COUNTERS, 7)


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    return fakes.install(monkeypatch)


def time_on(target, latency_ms, **counts):
    timing = Timing(latency_ms=latency_ms, spread_ms=0.25, samples=9, status="ok")
    return Verification(counts or COUNTS, None, {str(target): timing})


@pytest.fixture
def problem():
    return make_problem("0.3ms", objectives=("score", "latency", "macs"))


@pytest.fixture
def member(problem):
    return select_front(problem, make_trials(problem, sample(30)))[0]


def test_a_result_says_where_each_number_comes_from(problem):
    arch = SPACE.decode(sample(1))[0]
    evaluation = Evaluation(0.5, "predicted", interval=(0.4, 0.6), components={"topology": 0.1})
    r = make_result(problem, "0", arch, evaluation, {"latency_ms": (2.0, 1.0, 3.0)})
    assert r.values["score"] == 0.5 and r.values["latency_ms"] == 2.0
    assert r.provenance["macs"] == "exact"
    assert r.provenance["score"] == r.provenance["latency_ms"] == "predicted"
    assert r.intervals == {"latency_ms": (1.0, 3.0), "score": (0.4, 0.6)}
    assert r.details == {"topology": 0.1}
    failed = make_result(problem, "0", arch, Evaluation(None, "predicted", failure="broke"), {})
    assert "score" not in failed.values and failed.evaluation is None


def test_a_measurement_that_breaks_a_constraint_is_a_violation(problem, member):
    (target,) = problem.local_targets
    assert member.with_verification(problem, None) == member
    slow = member.with_verification(problem, time_on(target, 0.4))
    assert slow.violations == ("latency_ms <= 0.3",)
    assert (slow.measured["latency_ms"].value, slow.op_counts) == (0.4, COUNTS)
    assert member.with_verification(problem, time_on(target, 0.2)).violations == ()


def test_why_a_network_was_not_timed_or_failed_is_kept(problem, member):
    (target,) = problem.local_targets
    verification = Verification({}, "broke", {}, {str(target): "no memory"})
    r = member.with_verification(problem, verification)
    assert (r.failure, r.timing_failure, r.measured) == ("broke", "no memory", {})


def test_a_throughput_is_measured_in_images_per_second(member):
    problem = make_problem("100img/s@cpu:b4", objectives=("macs",))
    (target,) = problem.local_targets
    (value,) = member.with_verification(problem, time_on(target, 8.0)).measured.values()
    assert value.value == pytest.approx(4 / 8e-3) and value.spread_ms == 0.25


def test_the_table_has_units_provenance_and_what_is_missing(problem):
    (target,) = problem.local_targets
    members = select_front(problem, make_trials(problem, sample(30)))
    members[0] = members[0].with_verification(problem, time_on(target, 0.4, torch=7))
    frame = make_frame(members, make_baselines(problem))
    assert list(frame.columns[:3]) == ["name", "kind", "key"] and frame.columns[-1] == "breaks"
    assert frame["kind"].value_counts().to_dict() == {"front": len(members), "baseline": 4}
    first = frame.iloc[0]
    assert first["latency_ms"] == members[0].values["latency_ms"]
    assert (first["latency_ms_low"], first["latency_ms_high"]) == members[0].intervals["latency_ms"]
    assert (first["latency_ms_measured"], first["latency_ms_iqr_ms"]) == (0.4, 0.25)
    assert (first["latency_ms_from"], first["latency_ms_status"]) == ("predicted", "ok")
    assert first["macs_torch"] == 7 and first["breaks"] == "latency_ms <= 0.3"
    assert frame["latency_ms_measured"].isna().sum() == len(frame) - 1
    assert frame["score"].isna().sum() == 4 and frame["macs"].dtype == float
    assert frame["macs_fvcore"].isna().all()  # not counted, which is not 0


def test_front_csv_holds_the_table_with_ten_digits(problem, tmp_path):
    (target,) = problem.local_targets
    members = select_front(problem, make_trials(problem, sample(30)))
    members[0] = members[0].with_verification(problem, time_on(target, 1 / 3))
    baselines = make_baselines(problem)
    write_front(tmp_path, members, baselines)
    text = (tmp_path / "front.csv").read_bytes().decode()
    assert "\r" not in text and text.endswith("\n")
    with (tmp_path / "front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    frame = make_frame(members, baselines)
    assert list(rows[0]) == list(frame.columns) and len(rows) == len(frame)
    assert rows[0]["latency_ms_measured"] == "0.3333333333" and rows[0]["macs_torch"] == "7"
    assert rows[1]["latency_ms_measured"] == rows[1]["latency_ms_status"] == rows[1]["breaks"] == ""
    assert rows[-1]["macs"] == f"{baselines[-1].values['macs']:.10g}"
    read = pandas.read_csv(tmp_path / "front.csv", dtype={"name": str, "key": str})
    assert read["macs"].tolist() == pytest.approx(frame["macs"].tolist())


def test_configs_of_an_earlier_front_go(problem, tmp_path):
    members = select_front(problem, make_trials(problem, sample(30)))
    write_front(tmp_path, members, [])
    write_front(tmp_path, members[:2], make_baselines(problem))
    files = sorted((tmp_path / "front").iterdir())
    assert [f.name for f in files] == ["0.yaml", "1.yaml"]
    assert [load_arch(f).key for f in files] == [m.arch.key for m in members[:2]]


def test_a_front_that_cannot_be_written_is_told(problem, member, tmp_path):
    (tmp_path / "front").write_text("a file")
    with pytest.raises(StoreError, match="front: cannot be written"):
        write_front(tmp_path, [member], make_baselines(problem))


def test_prediction_errors_by_hand():
    problem = make_problem(objectives=("score", "latency", "macs"))
    (target,) = problem.local_targets
    members = select_front(problem, make_trials(problem, sample(30)))[:4]
    factors = (1.05, 1.0, 0.95, 2.0)
    front = [
        r.with_verification(problem, time_on(target, r.values["latency_ms"] * f))
        for r, f in zip(members, factors, strict=True)
    ]
    error = measure_prediction_errors(front)["latency_ms"]
    expected = [abs(1 / f - 1) for f in factors]
    assert error.n == 4 and error.mape == pytest.approx(sum(expected) / 4)
    assert (error.within_10, error.covered) == (0.75, 0.75)  # fake devices doubt by 20 %
    assert -1 <= error.kendall <= 1
    few = measure_prediction_errors(front[:2])["latency_ms"]
    assert few.n == 2 and few.kendall is few.spearman is None
    assert measure_prediction_errors(members) == {}
