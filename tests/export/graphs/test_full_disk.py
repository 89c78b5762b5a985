"""A full disk where a library's own writer ends the process, or says something else."""

import errno
import resource
import sys
from types import SimpleNamespace

import pytest
from torch import nn

from smt_nas.export import ExportOptions
from smt_nas.export.graphs.openvino_folder import save_model
from smt_nas.export.graphs.torch_file import export_pt2


@pytest.fixture
def small_files():
    """No file may be above 20 kB; the error is that of a full disk by another number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_program_of_torch_that_does_not_fit_is_an_error_of_the_disk(small_files, tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()  # 123 kB
    source = SimpleNamespace(deployed=network, arch=SimpleNamespace(in_channels=3, image_size=32))
    with pytest.raises(OSError) as caught:
        export_pt2(source, tmp_path, ExportOptions("net"))
    assert caught.value.errno == errno.EFBIG


def test_what_openvino_cannot_write_is_an_error_of_the_disk(monkeypatch, tmp_path):
    def save(model, path, compress_to_fp16):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(save_model=save))
    with pytest.raises(OSError, match="iostream"):
        save_model(object(), tmp_path / "net.xml", half=False)
