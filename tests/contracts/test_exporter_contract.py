"""Every exporter: its files are there, alone, checked, and say or compute the network."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from smt_nas.arch import PRESETS, SMALL_PRESETS
from smt_nas.errors import ConfigError, ExportError, StoreError, UnknownName
from smt_nas.export import EXPORTERS, ExportOptions, ExportSource, export, exporter, to_text
from smt_nas.models import build

TINY = SMALL_PRESETS["smt_micro"].model_copy(update={"drop_path": 0.1})
PUBLISHED = PRESETS["smt_t"].model_copy(update={"num_classes": 5})  # its config is expressible
every_format = pytest.mark.parametrize("format_name", EXPORTERS)
computing = pytest.mark.parametrize(
    "format_name", [n for n, e in EXPORTERS.items() if e.load_back is not None]
)
configs = pytest.mark.parametrize(
    "format_name", [n for n, e in EXPORTERS.items() if e.read_back is not None]
)


@pytest.fixture(scope="module")
def trained():
    """A small network whose norms and biases are not those of fresh weights."""
    generator = torch.Generator().manual_seed(1)
    model = build(TINY, generator=generator)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                tensor.normal_(0, 0.1, generator=generator)
            if name.endswith("running_var") or ".bn.weight" in name:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return ExportSource("net", TINY, model.state_dict())


@pytest.fixture
def source(trained, format_name):
    """What a format can express: configs of the published code know no stem of stride 2."""
    needs_install(format_name)
    return ExportSource("net", PUBLISHED) if format_name == "official" else trained


def needs_install(format_name):
    entry = EXPORTERS[format_name]
    absent = [m for m in entry.modules if importlib.util.find_spec(m) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed: pip install 'smt-nas[{entry.extra}]'")


def target(format_name, folder):
    return folder / f"net{EXPORTERS[format_name].suffix}"


@configs
@pytest.mark.parametrize("name", PRESETS)
def test_what_is_read_back_is_the_network(format_name, name, tmp_path):
    given = ExportSource(name, PRESETS[name])
    manifest = export(given, format_name, target(format_name, tmp_path))
    back = EXPORTERS[format_name].read_back(manifest)
    assert back.key == PRESETS[name].key
    assert back.drop_path == PRESETS[name].drop_path


@computing
def test_what_is_loaded_back_computes_the_network(format_name, source, tmp_path):
    manifest = export(source, format_name, target(format_name, tmp_path))
    entry = EXPORTERS[format_name]
    if entry.not_run_here is not None and entry.not_run_here():
        assert any("not run" in note for note in manifest.notes)
        return
    assert manifest.checks and all(c.largest_difference <= c.tolerance for c in manifest.checks)
    batches = {check.inputs[0] for check in manifest.checks}
    assert len(batches) == (2 if manifest.batch is None else 1)
    images = torch.randn(manifest.batch or 2, 3, *[manifest.image_size or TINY.image_size] * 2)
    reference = source.model if entry.reference is None else entry.reference(source)
    with torch.inference_mode():
        expected, got = reference(images), entry.load_back(manifest)(images)
    tolerance = {"largest": entry.tolerance, "rms": 0.2}[entry.measure]
    torch.testing.assert_close(got, expected, atol=tolerance, rtol=tolerance)


@computing
def test_the_manifest_says_what_was_checked(format_name, source, tmp_path):
    manifest = export(source, format_name, target(format_name, tmp_path))
    (path,) = [p for p in manifest.files if p.name.endswith(".manifest.json")]
    content = json.loads(path.read_text())
    assert content["format"] == format_name and content["network"]["key"] == TINY.key
    assert len(content["checks"]) == len(manifest.checks)
    assert {"python", "torch", "smt-nas"} <= set(content["versions"])
    assert str(tmp_path) not in path.read_text()


@every_format
def test_the_manifest_names_every_file(format_name, source, tmp_path):
    manifest = export(source, format_name, target(format_name, tmp_path))
    assert manifest.format == format_name
    folder = tmp_path if EXPORTERS[format_name].suffix else tmp_path / "net"
    assert set(manifest.files) == set(folder.iterdir())
    assert all(path.stat().st_size for path in manifest.files)


@every_format
def test_the_same_network_gives_the_same_text(format_name, source, tmp_path):
    if not EXPORTERS[format_name].is_text:
        pytest.skip("graphs hold the time they were written at")
    assert to_text(source, format_name) == to_text(source, format_name)
    export(source, format_name, tmp_path / "x.yaml")
    assert (tmp_path / "x.yaml").read_text() == to_text(source, format_name, ExportOptions("x"))


@every_format
def test_a_folder_that_cannot_be_written_is_one_line(format_name, source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        export(source, format_name, target(format_name, tmp_path / "file"))
    assert "\n" not in str(caught.value)


@every_format
def test_what_is_there_is_replaced_by_force_alone(format_name, source, tmp_path):
    out = target(format_name, tmp_path)
    export(source, format_name, out)
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match="--force"):
        export(source, format_name, out)
    assert snapshot(tmp_path) == before
    export(source, format_name, out, force=True)
    assert set(snapshot(tmp_path)) == set(before)


@every_format
def test_nothing_is_left_where_writing_fails(format_name, source, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("smt_nas.export.checked_export.publish", fail)
    with pytest.raises(StoreError, match="No space left on device"):
        export(source, format_name, target(format_name, tmp_path))
    assert list(tmp_path.iterdir()) == []


@every_format
def test_options_that_it_does_not_take_are_refused(format_name, source, tmp_path):
    entry, out = EXPORTERS[format_name], target(format_name, tmp_path)
    wrong = []
    if "batch" not in (entry.dynamic or ()):
        wrong.append(ExportOptions(batch="dynamic"))
    if "image_size" not in (entry.dynamic or ()):
        wrong.append(ExportOptions(image_size="dynamic"))
    if not entry.calibrates:
        wrong.append(ExportOptions(calibration=tmp_path))
    wrong += [ExportOptions(precision=p) for p in ("fp16", "bf16") if p not in entry.precisions]
    wrong += [ExportOptions(image_size=8)]
    for options in wrong:
        with pytest.raises(ConfigError, match="--"):
            export(source, format_name, out, options)
    assert list(tmp_path.iterdir()) == []


@every_format
def test_it_says_what_it_is(format_name):
    assert 5 < len(EXPORTERS[format_name].help) < 80


@pytest.mark.parametrize("format_name", [n for n, e in EXPORTERS.items() if e.modules])
def test_an_extra_that_is_not_installed_is_named(format_name, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    extra = EXPORTERS[format_name].extra
    with pytest.raises(ExportError, match=rf"pip install 'smt-nas\[{extra}\]'"):
        export(trained, format_name, target(format_name, tmp_path))


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'official'"):
        exporter("oficial")


def snapshot(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}
