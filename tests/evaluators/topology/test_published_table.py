"""The table of published networks: the shipped one, and what a user's own must be."""

import numpy as np
import pytest

from smt_nas.errors import ConfigError
from smt_nas.evaluators.topology.published_table import COLUMNS, PublishedTable, load_published
from tests.fakes.published import write_own


def set_cell(column, value, row=1):
    def change(frame):
        frame = frame.copy()
        frame[column] = frame[column].astype(object)
        frame.iloc[row, frame.columns.get_loc(column)] = value
        return frame

    return change


BROKEN = {
    "a column less": (lambda f: f.drop(columns="e3"), "must have a column e3"),
    "a family of one everywhere": (lambda f: f.assign(family=f.model), "each a family of its own"),
    "no number": (set_cell("gmacs", ""), "gmacs must be above 0 and below 100,000"),
    "text": (set_cell("m2", "much"), "m2 must be a number above 0 (got much)"),
    "infinite": (
        set_cell("params_m", "inf"),
        "params_m must be above 0 and below 100,000 (in G or M) (got inf)",
    ),
    "negative": (set_cell("d1", -1), "d1 must be a number above 0"),
    "single MACs": (lambda f: f.assign(gmacs=1e9 * f.gmacs), "below 100,000 (in G or M)"),
    "a column's name of two lines": (lambda f: f.rename(columns={"m4": "m\n4"}), "a column m4"),
    "a name of two lines": (
        lambda f: set_cell("d1", 0, row=0)(set_cell("model", "a\nb", row=0)(f)),
        "row 2 (a b): d1 must be a number above 0",
    ),
    "a row twice, renamed": (
        lambda f: f.iloc[[0, *range(len(f))]].assign(model=range(len(f) + 1)),
        "row 3: stands there already (got 1)",
    ),
    "a share for a percentage": (lambda f: f.assign(top1=f.top1 / 100), "a percentage"),
    "top-1 above 100": (set_cell("top1", 180), "top1 must be a percentage"),
    "a flag of neither": (set_cell("hybrid", 2), "hybrid must be 0 or 1"),
    "a row twice": (lambda f: f.iloc[[0, 1, *range(len(f))]], "stands there already"),
    "no name": (set_cell("family", ""), "needs a name in model, family, line"),
    "no row": (lambda f: f.iloc[:0], "must hold networks (got none)"),
    "none comparable": (
        lambda f: f.assign(comparable=0),
        "needs comparable networks (got none). Write 1 in the column comparable",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_table_that_breaks_a_rule_is_refused_in_one_line(tmp_path, case):
    change, said = BROKEN[case]
    path = write_own(tmp_path / "own.csv", change)
    with pytest.raises(ConfigError) as error:
        PublishedTable.read(path)
    assert str(error.value).startswith(f"{path}: ") and said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", bytes(range(256)) * 20, None]
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "own.csv"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        PublishedTable.read(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_told_to_be_commas(tmp_path, separator):
    path = write_own(tmp_path / "own.csv")
    path.write_text(path.read_text().replace(",", separator))
    with pytest.raises(ConfigError, match=r"must have a column model .*Separate them by commas\."):
        PublishedTable.read(path)


def test_spaces_after_commas_are_none_of_the_names(tmp_path):
    plain = PublishedTable.read(write_own(tmp_path / "a.csv"))
    path = write_own(tmp_path / "b.csv")
    path.write_text(path.read_text().replace(",", ", "))
    other = PublishedTable.read(path)
    assert other.family.tolist() == plain.family.tolist()
    np.testing.assert_array_equal(plain.top1, other.top1)


def test_the_row_that_is_wrong_is_told_by_its_line_and_its_name(tmp_path):
    path = write_own(tmp_path / "own.csv", set_cell("top1", "n/a", row=4))
    name = path.read_text().splitlines()[5].split(",")[0]
    with pytest.raises(ConfigError, match=r"row 6 \(" + name.replace(".", r"\.")):
        PublishedTable.read(path)


def test_more_columns_and_another_order_change_nothing(tmp_path):
    plain = PublishedTable.read(write_own(tmp_path / "a.csv"))
    other = PublishedTable.read(
        write_own(tmp_path / "b.csv", lambda f: f[f.columns[::-1]].assign(note="mine"))
    )
    np.testing.assert_array_equal(plain.top1, other.top1)
    np.testing.assert_array_equal(plain.shapes.width, other.shapes.width)


def test_the_shipped_table_holds_what_its_readme_says():
    table = load_published()
    assert int(table.comparable.sum()) == 491 and len(COLUMNS) == 25
    architectures = {name.partition(".")[0] for name in table.name.tolist()}
    assert len(architectures) == 531
    assert table.line[table.family == "pvt_v2"][0] == "pvt"
