"""What all formats have in common: what differs is not kept, and files are whole or not there."""

import dataclasses
import os
import shutil

import filelock
import pytest
import torch
from torch import nn

from smt_nas.errors import ConfigError, ExportError, StoreError
from smt_nas.export import ExporterEntry, ExportOptions, ExportSource, Manifest
from smt_nas.export.checked_export import resolve_target, write_export
from smt_nas.export.graphs.traced_program import TraceShape, explain_errors, find_operator, trace
from tests.fakes.networks import TINY, trained_state


@pytest.fixture(scope="module")
def source():
    return ExportSource("net", TINY, trained_state(TINY))


def entry_of(change, suffix=".bin", **fields):
    """A format that keeps the network in memory, changed by `change` when it is loaded back."""
    kept = {}

    def write(source, folder, options):
        path = folder / f"{options.name}{suffix or '.bin'}"
        path.write_bytes(b"x" * 10)
        kept["model"] = source.model
        return Manifest("fake", (path,), notes=("Made up.",))

    def load(manifest):
        return lambda images: change(kept["model"](images), images)

    return ExporterEntry(write, "a format of this test", suffix, load_back=load, **fields)


def same(logits, images):
    return logits


def export(entry, source, out, force=False, **options):
    return write_export(entry, "fake", source, out, ExportOptions("net", **options), force)


def constant_batch(logits, images):
    if len(images) == 3:
        raise RuntimeError("Got: 3 Expected: 2")
    return logits


@pytest.mark.parametrize(
    "change",
    [
        lambda y, x: y + 1e-3,
        lambda y, x: y * float("nan"),
        lambda y, x: y[:, :-1],
        constant_batch,
    ],
)
def test_what_differs_is_refused_and_nothing_is_left(change, source, tmp_path):
    with pytest.raises(ExportError, match="--format fake") as caught:
        export(entry_of(change), source, tmp_path / "net.bin")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_weights_that_are_no_numbers_are_refused_by_name(source, tmp_path):
    state = dict(source.state)
    state["head.bias"] = state["head.bias"] * float("nan")
    diverged = dataclasses.replace(source, state=state)
    with pytest.raises(StoreError, match=r"finite numbers .*head\.bias"):
        export(entry_of(same), diverged, tmp_path / "net.bin")


def test_checks_say_shapes_and_differences(source, tmp_path):
    manifest = export(entry_of(lambda y, x: y + 1e-5), source, tmp_path / "net.bin")
    assert [c.inputs[0] for c in manifest.checks] == [1, 3, 3]
    assert manifest.checks[2].inputs[2:] == (32 + 33, 32 + 47)
    assert all(0 < c.largest_difference < 2e-5 for c in manifest.checks)


def test_a_full_disk_that_a_library_calls_something_else(source, tmp_path, monkeypatch):
    def write(source, folder, options):
        (folder / "half").write_bytes(b"x")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    entry = dataclasses.replace(entry_of(same), export=write)
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match="No space left"):
        export(entry, source, tmp_path / "net.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_whole_and_only_where_an_export_wrote_it(source, tmp_path):
    entry, out = entry_of(same, suffix=""), tmp_path / "made" / "here"
    export(entry, source, out)
    assert {p.name for p in out.iterdir()} == {"net.bin", "net.manifest.json"}
    with pytest.raises(StoreError, match="--force"):
        export(entry, source, out)
    export(entry, source, out, force=True)
    assert {p.name for p in out.iterdir()} == {"net.bin", "net.manifest.json"}
    (out / "notes.txt").write_text("")
    with pytest.raises(StoreError, match=r"other files, e\.g\. notes\.txt"):
        export(entry, source, out, force=True)
    assert (out / "notes.txt").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(StoreError, match="other files"):
        export(entry, source, tmp_path / "other", force=True)


@pytest.mark.parametrize("failing", [1, 3])  # moving the old files out, the new ones in
def test_a_folder_is_as_it_was_where_replacing_it_is_interrupted(
    failing, source, tmp_path, monkeypatch
):
    entry, out = entry_of(same, suffix=""), tmp_path / "net"
    export(entry, source, out)
    before = {p.name: p.stat().st_ino for p in out.iterdir()}
    rename, calls = os.rename, []

    def interrupt(path, place):
        calls.append(path)
        if len(calls) == failing + 1:
            raise KeyboardInterrupt
        rename(path, place)

    monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(entry, source, out, force=True)
    assert {p.name: p.stat().st_ino for p in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_package_that_is_a_folder_is_replaced_by_force_alone(source, tmp_path):
    def write(source, folder, options):
        path = folder / f"{options.name}.bin"
        path.mkdir()
        (path / options.precision).write_text("")
        return Manifest("fake", (path,))

    entry = dataclasses.replace(
        entry_of(same), export=write, not_run_here=lambda: "why", precisions=("fp32", "fp16")
    )
    out = tmp_path / "net.bin"
    export(entry, source, out)
    with pytest.raises(StoreError, match="--force"):
        export(entry, source, out)
    export(entry, source, out, force=True, precision="fp16")
    assert [p.name for p in out.iterdir()] == ["fp16"]
    assert {p.name for p in tmp_path.iterdir()} == {"net.bin", "net.bin.manifest.json"}


def test_a_folder_as_target_of_a_file(source, tmp_path):
    manifest = export(entry_of(same), source, tmp_path / "deploy")
    assert manifest.files[0] == tmp_path / "deploy" / "net.bin"
    with pytest.raises(ExportError):
        export(entry_of(lambda y, x: y + 1), source, tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_a_file_in_a_folder_that_is_not_there_says_what_to_make(source, tmp_path):
    with pytest.raises(StoreError, match=r"Make .*nowhere, or choose another --out"):
        export(entry_of(same), source, tmp_path / "nowhere" / "net.bin")
    assert not any(tmp_path.iterdir())


def test_what_a_kill_left_is_removed_unless_it_runs_or_holds_what_was_replaced(source, tmp_path):
    def hide(end, inner="files"):
        folder = tmp_path / f".net.bin.export-{end}"
        (folder / inner).mkdir(parents=True)
        (folder / ".lock").touch()
        return folder

    killed, running, replacing = hide("killed"), hide("running"), hide("moved", "files/old")
    with filelock.FileLock(running / ".lock"):
        export(entry_of(same), source, tmp_path / "net.bin")
    hidden = {path for path in tmp_path.iterdir() if path.name.startswith(".")}
    assert hidden == {running, replacing} and not killed.exists()


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"net\.bin"):
        resolve_target(entry_of(same), "fake", tmp_path / "net.onnx", "net")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(source, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        export(entry_of(same), source, tmp_path / "net.bin")


def test_files_are_readable_by_others(source, tmp_path):
    for path in export(entry_of(same), source, tmp_path / "net.bin").files:
        assert path.stat().st_mode & 0o777 == 0o644


def test_an_operator_that_a_target_lacks_is_named():
    with pytest.raises(ExportError, match=r"aten\.bucketize"), explain_errors("--format x", "y"):
        try:
            raise KeyError("No ONNX function found for <OpOverload(op='aten.bucketize', ...)>")
        except KeyError as error:
            raise RuntimeError("Failed to convert the exported program") from error
    assert find_operator(ValueError("something else")) == ""


def test_what_depends_on_data_cannot_be_traced(source):
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    changed = dataclasses.replace(source)
    changed.__dict__["deployed"] = Branching()
    options = ExportOptions()
    with pytest.raises(ExportError, match="the network: must be of operators"):
        trace(changed, options, TraceShape.of(changed, options))


def test_half_precision_is_compared_by_the_spread(source, tmp_path):
    entry = entry_of(lambda y, x: y.bfloat16().float(), precisions=("fp32", "bf16"))
    manifest = export(entry, source, tmp_path / "net.bin", precision="bf16")
    assert {c.measure for c in manifest.checks} == {"rms"}
    assert torch.isfinite(torch.tensor([c.largest_difference for c in manifest.checks])).all()
