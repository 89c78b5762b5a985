"""Every exporter: its files are there, alone, checked, and say or compute the network."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from smt_nas.arch import PRESETS
from smt_nas.errors import ConfigError, ExportError, StoreError, UnknownName
from smt_nas.export import EXPORTERS, ExportOptions, ExportSource, export, exporter, to_text
from smt_nas.export.graphs import GRAPHS
from smt_nas.export.verification import difference
from smt_nas.profilers.compare import Verdict
from tests.fakes.networks import TINY, trained_state

PUBLISHED = PRESETS["smt_t"].model_copy(update={"num_classes": 5})  # its config is expressible
SLOW = ("onnx-int8", "aoti", "executorch", "litert", "coreml")  # half a minute and more
FAST = [n for n, e in EXPORTERS.items() if n not in GRAPHS]
configs = pytest.mark.parametrize("format_name", [n for n in EXPORTERS if EXPORTERS[n].read_back])
every_format = pytest.mark.parametrize(
    "format_name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in EXPORTERS]
)
FASTER = Verdict(0.5, 0.4, 0.6, "FASTER", 0.01)
every_fast_format = pytest.mark.parametrize("format_name", FAST)


@pytest.fixture(scope="module")
def trained():
    """A small network whose norms and biases are not those of fresh weights."""
    return ExportSource("net", TINY, trained_state(TINY))


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


@every_format
def test_what_is_written_is_checked_and_told(format_name, source, tmp_path, monkeypatch):
    """One test, as converters take long; for any size where that can be."""
    monkeypatch.setattr("smt_nas.export.graphs.int8.time_both", lambda *_: (FASTER, (2.0, 1.0)))
    any_size = "image_size" in (EXPORTERS[format_name].dynamic or ())
    options = ExportOptions("net", image_size="dynamic" if any_size else None)
    manifest = export(source, format_name, target(format_name, tmp_path), options)
    check_files(manifest, tmp_path if EXPORTERS[format_name].suffix else tmp_path / "net")
    entry = EXPORTERS[format_name]
    if entry.not_run_here is not None and entry.not_run_here():
        assert any("not run" in note for note in manifest.notes)
    elif entry.load_back is not None:
        check_outputs(entry, source, manifest)


def check_files(manifest, place):
    """The manifest names every file, alone, and says what was checked with which versions."""
    assert set(manifest.files) == set(place.iterdir())
    entry = EXPORTERS[manifest.format]
    told = [p for p in manifest.files if p.name.endswith(".manifest.json")]
    assert len(told) == (entry.load_back is not None)
    for path in told:
        content = json.loads(path.read_text())
        assert content["format"] == manifest.format and content["network"]["key"] == TINY.key
        assert len(content["checks"]) == len(manifest.checks)
        assert {"python", "torch", "smt-nas"} <= set(content["versions"])
        assert str(place) not in path.read_text()


def as_list(outputs):
    """Logits, or the maps of a backbone."""
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def check_outputs(entry, source, manifest):
    """It was checked at two batches where it takes any, and computes the same once more."""
    assert manifest.checks and all(c.largest_difference <= c.tolerance for c in manifest.checks)
    batches = {check.inputs[0] for check in manifest.checks}
    assert len(batches) == (2 if manifest.batch is None else 1)
    sizes = {check.inputs[2:] for check in manifest.checks}
    assert len(sizes) == (2 if manifest.image_size is None else 1)
    images = torch.randn(manifest.batch or 2, 3, *[manifest.image_size or TINY.image_size] * 2)
    reference = source.model if entry.reference is None else entry.reference(source)
    with torch.inference_mode():
        expected, got = reference(images), entry.load_back(manifest)(images)
    assert difference(as_list(expected), as_list(got), entry.measure) <= entry.tolerance


@every_fast_format
def test_the_same_network_gives_the_same_text(format_name, source, tmp_path):
    if not EXPORTERS[format_name].is_text:
        pytest.skip("it is no text")
    assert to_text(source, format_name) == to_text(source, format_name)
    export(source, format_name, tmp_path / "x.yaml")
    assert (tmp_path / "x.yaml").read_text() == to_text(source, format_name, ExportOptions("x"))


@every_fast_format
def test_a_folder_that_cannot_be_written_is_one_line(format_name, source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        export(source, format_name, target(format_name, tmp_path / "file"))
    assert "\n" not in str(caught.value)


@every_fast_format
def test_what_is_there_is_replaced_by_force_alone(format_name, source, tmp_path):
    out = target(format_name, tmp_path)
    export(source, format_name, out)
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match="--force"):
        export(source, format_name, out)
    assert snapshot(tmp_path) == before
    export(source, format_name, out, force=True)
    assert set(snapshot(tmp_path)) == set(before)


@every_fast_format
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
