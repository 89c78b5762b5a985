"""Every exporter: its files are there, alone, and say the network that went in."""

import pytest

from smt_nas.arch import PRESETS
from smt_nas.errors import StoreError, UnknownName
from smt_nas.export import EXPORTERS, ExportOptions, export, exporter

every_format = pytest.mark.parametrize("format_name", EXPORTERS)


@every_format
@pytest.mark.parametrize("name", PRESETS)
def test_what_is_read_back_is_the_network(format_name, name, tmp_path):
    manifest = export(PRESETS[name], format_name, tmp_path, ExportOptions(name=name))
    back = EXPORTERS[format_name].read_back(manifest)
    assert back.key == PRESETS[name].key
    assert back.drop_path == PRESETS[name].drop_path


@every_format
def test_the_manifest_names_every_file(format_name, tmp_path):
    manifest = export(PRESETS["smt_t"], format_name, tmp_path, ExportOptions(name="net"))
    assert manifest.format == format_name
    assert set(manifest.files) == set(tmp_path.iterdir())
    assert all(path.stem == "net" and path.stat().st_size for path in manifest.files)


@every_format
def test_the_same_network_gives_the_same_bytes(format_name, tmp_path):
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        files = export(PRESETS["smt_s"], format_name, folder, ExportOptions()).files
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]


@every_format
def test_a_folder_that_cannot_be_written_is_one_line(format_name, tmp_path):
    with pytest.raises(StoreError) as caught:
        export(PRESETS["smt_t"], format_name, tmp_path / "nowhere", ExportOptions())
    assert "\n" not in str(caught.value)


@every_format
def test_it_says_what_it_is(format_name):
    assert 5 < len(EXPORTERS[format_name].help) < 80


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'official'"):
        exporter("oficial")
