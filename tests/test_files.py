"""Files: what is refused as a config, and that a write never loses what was there."""

import errno
import os
import stat
from pathlib import Path

import pytest

from smt_nas.errors import ConfigError, StoreError, UnknownName
from smt_nas.files import (
    append_synced,
    check_same,
    cut_torn_line,
    find_yaml,
    locked,
    names,
    shell_word,
    to_text,
    write_atomic,
)
from smt_nas.yaml import read_yaml, to_yaml

TEXTS = {  # content -> what the message says
    "a: 1\na: 2\n": "line 2: key 'a' stands twice",
    "a:\n  b: 1\n  b: 2\n": "line 3: key 'b' stands twice",
    "a: {b: 1, b: 1}\n": "key 'b' stands twice",
    "? [1, 2]\n: 3\n": "a key must be a word",
    "? {a: 1}\n: 3\n": "a key must be a word",
    "": "got nothing",
    "# only a comment\n": "got nothing",
    "- 1\n- 2\n": r"must hold `field: value` lines \(got list\)",
    "words\n": r"got str",
    "a: [1, 2\n": "is not valid YAML",
    "a: 1\n b: 2\n": "is not valid YAML",
    "a: !!python/object/apply:os.getcwd []\n": "is not valid YAML",
    "a: *nowhere\n": "is not valid YAML",
    "a: 1\n---\nb: 2\n": "is not valid YAML",
    "[" * 20_000: "nested too deeply|is not valid YAML",
    "a: " + "{a: " * 20_000: "nested too deeply|is not valid YAML",
    "a: 2024-13-45\n": "is not valid YAML",
    "a: !!int x\n": "is not valid YAML",
    "a: !!bool x\n": "is not valid YAML",
    "a: !!timestamp x\n": "is not valid YAML",
    f"a: {'9' * 5000}\n": "is not valid YAML",
}
MKSTEMP = "smt_nas.files.tempfile.mkstemp"


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize(("text", "message"), TEXTS.items(), ids=range(len(TEXTS)))
def test_refused_text(tmp_path, text, message):
    path = tmp_path / "net.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400


def test_a_mapping_is_read(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text("a: 1\nb: {c: [3, 5]}\n")
    assert read_yaml(path) == {"a": 1, "b": {"c": [3, 5]}}


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="got a directory"):
        read_yaml(tmp_path)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(tmp_path / "absent.yaml")


def test_a_name_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / ("x" * 300 + ".yaml"))


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "net.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)  # sparse
    with pytest.raises(ConfigError, match=r"at most 1 MB \(got 100.0 MB\)"):
        read_yaml(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: \x80", bytes(range(256))])
def test_a_binary_file_is_refused(tmp_path, content):
    path = tmp_path / "net.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="must be UTF-8 text"):
        read_yaml(path)


def test_control_characters_are_refused(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_bytes(b"a: \x00\x01")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_yaml(path)


def test_a_small_text_cannot_grow_large(tmp_path):
    path = tmp_path / "net.yaml"
    rows = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 30)]
    path.write_text("\n".join(["l0: &l0 [x, x, x]", *rows]))
    assert len(read_yaml(path)) == 30  # aliases are shared, not copied


def test_what_is_written_is_read_back(tmp_path):
    data = {"b": 1, "a": [3, 5, 7], "c": {"d": 0.0001, "e": None, "f": "on"}}
    write_atomic(tmp_path / "x.yaml", to_yaml(data))
    assert read_yaml(tmp_path / "x.yaml") == data
    assert list(read_yaml(tmp_path / "x.yaml")) == ["b", "a", "c"]
    assert "[3, 5, 7]" in to_yaml(data)


def test_a_write_replaces(tmp_path):
    path = tmp_path / "x.yaml"
    write_atomic(path, "old")
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert leftovers(tmp_path) == ["x.yaml"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch, call):
    path = tmp_path / "x.yaml"
    write_atomic(path, "old")

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"smt_nas.files.os.{call}", fail)
    with pytest.raises(StoreError, match=r"No space left on device.*what was there before is kept"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == ["x.yaml"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_write_that_fails_at_once_leaves_no_file(tmp_path, monkeypatch):
    full = os.open("/dev/full", os.O_WRONLY)
    temporary = tmp_path / ".x.yaml.t"
    temporary.touch()
    monkeypatch.setattr(MKSTEMP, lambda **kw: (full, str(temporary)))
    with pytest.raises(StoreError, match="No space left on device"):
        write_atomic(tmp_path / "x.yaml", "new")
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            write_atomic(tmp_path / "x.yaml", "new")
    finally:
        tmp_path.chmod(0o700)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_disk_is_refused(tmp_path, monkeypatch, code):
    def fail(**kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(MKSTEMP, fail)
    with pytest.raises(StoreError, match=os.strerror(code)):
        write_atomic(tmp_path / "x.yaml", "new")
    assert leftovers(tmp_path) == []


def test_an_absent_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match="No such file or directory"):
        write_atomic(tmp_path / "absent" / "x.yaml", "new")


def test_shipped_names_are_found():
    assert {"smt", "smt_micro"} <= set(names("search_spaces"))
    for name in names("search_spaces"):
        assert find_yaml("search_spaces", name, "search space").is_file()


@pytest.mark.parametrize("text", ["mine.yaml", "mine.yml", "folder/mine", "./smt", "/tmp/x.yaml"])
def test_a_path_is_taken_as_it_is(text):
    assert str(find_yaml("search_spaces", text, "search space")) == os.path.normpath(text)


@pytest.mark.parametrize("name", ["smt_mirco", "", "nothing-like-it", "SMT "])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(UnknownName, match=r"Known: .*smt.*A path to your own .yaml works too"):
        find_yaml("search_spaces", name, "search space")


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(UnknownName, match="Did you mean 'smt_micro'\\?"):
        find_yaml("search_spaces", "smt_mirco", "search space")


@pytest.mark.parametrize("torn", [b"", b"two, but not its e", b"\xff"])
def test_a_torn_last_line_is_cut_off_and_the_file_grows_on(tmp_path, torn):
    path = tmp_path / "lines"
    path.write_bytes(b"one\n" + torn)
    cut_torn_line(path)
    with path.open("ab") as file:
        append_synced(file, b"two\n")
        append_synced(file, b"three\n", sync=False)
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_folder_is_held_by_one_and_free_afterwards(tmp_path):
    for _ in range(2):
        with (
            locked(tmp_path, "Wait."),
            pytest.raises(StoreError, match="another process is working in it"),
            locked(tmp_path, "Wait."),
        ):
            pass


def test_the_first_setting_that_differs_is_named():
    old = {"space": "smt", "seed": 1, "epochs": 3}
    check_same("runs/a", "holds a bench", old, dict(old), "Choose another.")
    for new, name, before, after in (
        ({**old, "seed": 2, "epochs": 4}, "seed", 1, 2),
        ({**old, "images": 9}, "images", None, 9),
        ({"space": "smt", "seed": 1}, "epochs", 3, None),
    ):
        with pytest.raises(StoreError) as caught:
            check_same("runs/a", "holds a bench", old, new, "Choose another.")
        message = f"runs/a: holds a bench with {name} {before} (got {after}). Choose another."
        assert str(caught.value) == message


def test_names_are_text_whatever_the_locale():
    assert to_text("червен.png") == "червен.png"
    assert to_text("червен".encode().decode("ascii", "surrogateescape")) == "червен"
    assert to_text(b"a\xff".decode("utf-8", "surrogateescape")) == r"a\xff"
    assert to_text("\ud800") == r"\ud800"


def test_a_file_takes_any_text(tmp_path):
    write_atomic(tmp_path / "f", "червен".encode().decode("ascii", "surrogateescape"))
    assert (tmp_path / "f").read_text(encoding="utf-8") == "червен"


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("runs/smt-2.4GFLOPs", "runs/smt-2.4GFLOPs"),
        ("runs/my run", "'runs/my run'"),
        ("what?#x", "'what?#x'"),
        ("it's", "'it'\"'\"'s'"),
    ],
)
def test_paths_in_commands_to_copy(path, word):
    assert shell_word(path) == shell_word(Path(path)) == word
