"""Profiles put together by hand, so that what a report shows of them is known."""

from dataclasses import replace

from torch import nn

from smt_nas.conditions import Conditions
from smt_nas.costs import PartCosts
from smt_nas.devices.device import Device, load_device
from smt_nas.profilers.breakdown import Breakdown, Piece
from smt_nas.profilers.compare import verdict
from smt_nas.profilers.counters import Count
from smt_nas.profilers.latency.measurement import Measurement
from smt_nas.profilers.network_loader import Network
from smt_nas.profilers.profile import Comparison, Profile, ProfileRow
from smt_nas.profilers.reading import Reading, latency_as_measured, throughput_of, unknown
from smt_nas.report.profile.costs import NetworkCounts
from tests.fakes.part_timer import SHEET

ONE_THREAD = Conditions(threads=1)
ENVIRONMENT = {"date": "2026-01-01", "torch": "2.13.0", "load": 0.5}


def device():
    """A CPU of ours, with the efficiency that all sheets have."""
    return Device(SHEET, load_device("a100").efficiency)


def measurement(name="net", ms=2.0, conditions=ONE_THREAD, **more):
    """Thirty samples around `ms`, in an order without a trend."""
    samples = tuple(ms * (1 + 0.01 * (i * 7 % 5 - 2)) for i in range(30))
    values = {"steady": True, "stopped_by": "ci", "status": "ok", "started": "2026-01-01T00:00:00"}
    return Measurement(name, "cpu", conditions, samples, None, 30.0, None, 0.5, **(values | more))


def row(name="net", ms=2.0, conditions=ONE_THREAD, **more):
    """A measured row with memory, and no energy."""
    m = measurement(name, ms, conditions, **more)
    latency = latency_as_measured(m)
    readings = {
        "latency_ms": latency,
        "throughput_ips": throughput_of(latency, conditions.batch),
        "peak_memory_mb": Reading(12.5, "measured"),
        "reserved_memory_mb": unknown("measured", "a CPU has no pool of its own"),
        "energy_mj": unknown("measured", "no counter"),
    }
    predicted = Reading(2.5, "predicted", low=2.0, high=3.0, basis="sheet")
    return ProfileRow(name, conditions, readings, predicted, m)


def predicted_row(name="net", ms=2.0, conditions=Conditions()):  # noqa: B008
    """A row that was only predicted."""
    latency = Reading(ms, "predicted", "ok", 0.8 * ms, 1.25 * ms, basis="sheet")
    readings = {
        "latency_ms": latency,
        "throughput_ips": throughput_of(latency, conditions.batch),
        "energy_mj": unknown("predicted", "energy is measured, not predicted"),
    }
    return ProfileRow(name, conditions, readings, predicted=latency)


def failed_row(name="net", conditions=ONE_THREAD):
    """A row that came to nothing."""
    return ProfileRow(name, conditions, {}, failure="it needs more memory than there is.")


def measured_profile(*rows):
    """Rows measured on this CPU, each network compared with the first."""
    first, *others = (r.measurement for r in rows if r.measurement)
    comparisons = [
        Comparison(first.name, m.name, m.conditions, verdict(first, m))
        for m in others
        if m.conditions == first.conditions
    ]
    return Profile(device(), "cpu", list(rows), comparisons)


def predicted_profile(*rows):
    """Rows predicted for a device that is not here."""
    return Profile(device(), None, list(rows))


def counts(name="net", arch=None, macs=2_000_000):
    """What is counted of a network: 2 million MACs, of which thop misses some."""
    network = Network(name, name, arch, 32, 3, nn.Identity)
    half = None if macs is None else macs // 2
    counters = {
        "torch": Count(macs, "everything that is no product", "nothing", "2.13"),
        "thop": Count(half, "matmul", "4 per element of norms", "0.1.1"),
        "fvcore": Count(None, "everything", "nothing", "0.1.5", "RuntimeError: no trace"),
    }
    return NetworkCounts(network, 1_500_000, macs, (), counters)


def part(name, kind, macs):
    """Costs of a part, of MACs alone."""
    return PartCosts(name, kind, 10, macs, 0, 100, 0.5)


def breakdown(by="stage", conditions=ONE_THREAD):
    """Two pieces, of which one takes three quarters of the time."""
    pieces = (
        Piece("stages.0", 3, 3.0, 3_000_000_000, 2_000_000, "compute"),
        Piece("head", 1, 1.0, 1_000_000_000, 4_000_000, "memory"),
    )
    return Breakdown("net", conditions, by, "measured", pieces)


def with_status(profile_row, status, reason):
    """The row, its latency doubted."""
    latency = replace(profile_row.readings["latency_ms"], status=status, reason=reason)
    return replace(profile_row, readings=profile_row.readings | {"latency_ms": latency})
