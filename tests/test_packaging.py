"""The wheel: shipped data is inside and found, also when the wheel is built from the sdist."""

import itertools
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import smt_nas

pytestmark = pytest.mark.slow
pytest.importorskip("hatchling", reason="building the wheel needs the dev extra")

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = "smt_nas/data"


def run(*command: object, cwd: Path = ROOT) -> str:
    """Run this Python with no network and return what it prints."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_of(source: Path, folder: Path) -> Path:
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run("-m", "pip", "wheel", *offline, "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel built from the checkout, and the one built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "-t", "sdist", "-d", folder)
    (sdist,) = folder.glob("*.tar.gz")
    return {"checkout": wheel_of(ROOT, folder / "a"), "sdist": wheel_of(sdist, folder / "b")}


@pytest.mark.parametrize("source", ["checkout", "sdist"])
def test_the_wheel_holds_the_package_and_its_data(wheels, source):
    inside = set(zipfile.ZipFile(wheels[source]).namelist())
    files = [p for p in (ROOT / "smt_nas").rglob("*") if p.is_file()]
    package = {str(p.relative_to(ROOT)) for p in files if p.parent.name != "__pycache__"}
    folders = [(ROOT / name).iterdir() for name in ("search_spaces", "profiles")]
    data = {f"{SHIPPED}/{p.relative_to(ROOT)}" for p in itertools.chain(*folders)}
    assert f"{SHIPPED}/profiles/a100_80_sxm.yaml" in data
    assert package | data <= inside
    assert not any(
        name.startswith(("tests/", "benchmarks/", "tools/", "cli.py")) for name in inside
    )
    assert not any("__pycache__" in name for name in inside)


def test_both_wheels_are_the_same(wheels):
    contents = [
        {info.filename: info.CRC for info in zipfile.ZipFile(path).infolist()}
        for path in wheels.values()
    ]
    assert contents[0] == contents[1]


def test_an_installed_wheel_finds_its_data(wheels, tmp_path):
    target = tmp_path / "site"
    options = ("--no-deps", "--no-index", "--quiet", "--target", target)
    run("-m", "pip", "install", *options, wheels["sdist"])
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "from smt_nas import files\n"
        "print(files.__file__)\n"
        "for name in files.names('search_spaces'):\n"
        "    print(files.find_yaml('search_spaces', name, 'search space'))\n"
    )
    module, *files = run("-c", code, cwd=tmp_path).splitlines()
    assert module.startswith(str(target))
    shipped = target / SHIPPED / "search_spaces"
    names = sorted(p.name for p in (ROOT / "search_spaces").glob("*.yaml"))
    assert files == [str(shipped / name) for name in names]


def test_the_version_is_told_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == smt_nas.__version__
    assert f"[{smt_nas.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_dependency_is_pinned_within_its_range():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in map(Requirement, itertools.chain(*groups)):
        if requirement.name != "smt-nas":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
