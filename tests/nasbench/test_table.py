"""A bench on disk: what is written is read, and what is damaged is said where."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.errors import ConfigError, StoreError, UnknownName
from smt_nas.evaluators.function import ReplayEvaluator
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.files import shipped
from smt_nas.nasbench.encoding import decode_arch, encode_arch
from smt_nas.nasbench.plan import plan_networks
from smt_nas.nasbench.rows import COLUMNS, format_csv
from smt_nas.nasbench.store import append_row, prepare_table, recover_rows
from smt_nas.nasbench.table import TABLE, bench_names, card_path, load_bench
from smt_nas.yaml import to_yaml
from tests.fakes.benches import CARD, MICRO, bench, rows, written


def test_what_is_written_is_read(tmp_path):
    made = rows(8, seeds=3)
    found = load_bench(written(tmp_path / "b", made))
    assert [(r.arch.key, r.seed, r.group) for r in found.rows] == [
        (r.arch.key, r.seed, r.group) for r in made
    ]
    for old, new in zip(made, found.rows, strict=True):
        assert new.figures == pytest.approx(old.figures, rel=1e-5)
    assert found.card == CARD
    assert load_bench(tmp_path / "b").rows == found.rows  # by its folder


def test_the_shipped_table_is_written_back_byte_for_byte():
    table = shipped("nasbench") / "smt-bench-mini.csv"
    assert format_csv(load_bench("smt-bench-mini").rows).encode() == table.read_bytes()


def test_its_frame_has_units_in_the_names_of_columns():
    made = bench(6, seeds=3)
    frame = made.frame()
    assert len(frame) == len(made.rows)
    first, last = made.rows[0], made.rows[-1]
    assert frame["val_top1_pct"].iloc[0] == pytest.approx(100 * first.figures["val_top1"])
    assert frame["test_top1_pct"].iloc[-1] == pytest.approx(100 * last.figures["test_top1"])
    assert list(frame["training_s"]) == [1.0] * len(frame) and frame["train_loss"].isna().all()
    assert frame["macs"].iloc[0] == costs.of(first.arch).macs
    assert frame["stage3.depth"].iloc[0] == first.arch.stages[2].depth
    assert frame.groupby("key")["seed"].nunique().max() == 3


def test_every_planned_network_survives_its_words():
    for planned in plan_networks(MICRO, 60, 5e6, 40e6):
        assert decode_arch(encode_arch(planned.arch), CARD.input).key == planned.arch.key


def test_costs_of_the_table_are_those_of_the_network():
    for row in rows(3):
        cells, found = row.to_cells(), costs.of(row.arch)
        assert int(cells["macs"]) == found.macs and int(cells["params"]) == found.params


def test_a_network_is_known_once_by_the_mean_of_its_seeds():
    found = bench(10, seeds=3)
    known = TrainingSet.of(found)
    assert len(known.archs) == 10 < len(found.rows)
    effect = found.seed_effects
    of_first = [
        r.figures["val_top1"] - effect[r.seed] for r in found.rows if r.arch == known.archs[0]
    ]
    assert len(of_first) == 3 and effect[0] == 0
    assert known.top1[0] == pytest.approx(100 * np.mean(of_first))


def test_what_a_seed_does_to_all_does_not_tell_networks_apart():
    """Seed 1 costs everybody a point: networks trained with it are none the worse."""
    made = rows(40, noise=0.0, seeds=2)
    worse = [
        replace(r, figures={**r.figures, "val_top1": r.figures["val_top1"] - 0.01 * r.seed})
        for r in made
    ]
    plain, shifted = (replace(bench(1), rows=tuple(r)) for r in (made, worse))
    np.testing.assert_allclose(TrainingSet.of(shifted).top1, TrainingSet.of(plain).top1)
    archs = TrainingSet.of(plain).archs
    looked_up = [
        [e.value for e in ReplayEvaluator.of_bench(b).evaluate(archs)] for b in (plain, shifted)
    ]
    np.testing.assert_allclose(*looked_up)


def test_a_first_seed_that_is_missing_is_no_other_seed():
    """Where it failed, the next one is not compared as if it were the first."""
    made = [r for r in rows(40, noise=0.0, seeds=2) if (r.seed, r.group) != (0, "band:0")]
    assert len({r.arch for r in made if r.seed == 1} - {r.arch for r in made if r.seed == 0}) > 1
    assert replace(bench(1), rows=tuple(made)).seed_effects == {0: 0.0, 1: 0.0}


def test_the_noise_of_a_training_is_found_from_the_seeds():
    assert TrainingSet.of(bench(100, noise=0.004, seeds=3)).noise == pytest.approx(0.4, rel=0.25)
    assert TrainingSet.of(bench(10)).noise == 0


def test_it_is_a_problem_for_searches():
    found = bench(6, seeds=3)
    archs = [rows[0].arch for rows in found.networks.values()]
    first, *_ = ReplayEvaluator.of_bench(found).evaluate(archs)
    assert first.provenance == "trained"
    assert first.value == found.top1(archs[0].key)
    [unknown] = ReplayEvaluator.of_bench(found).evaluate([bench(1, seed=9).rows[0].arch])
    assert unknown.value is None and "no entry" in unknown.failure


def damaged(tmp_path, change):
    """A table of which `change` made something else of its cells."""
    path = written(tmp_path / "b", rows(4))
    with path.open(newline="") as file:
        cells = list(csv.DictReader(file))
    columns = change(cells) or COLUMNS
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)
    return path


@pytest.mark.parametrize("bad", ["nan", "inf", "soon"])
def test_a_figure_that_is_no_number_is_named_with_its_line(tmp_path, bad):
    path = damaged(tmp_path, lambda cells: cells[2].update(val_top1=bad))
    with pytest.raises(ConfigError, match=rf"line 4: val_top1 must be a finite .*\(got {bad}\)"):
        load_bench(path)


def test_a_figure_that_cannot_be_is_named(tmp_path):
    path = damaged(tmp_path, lambda cells: cells[1].update(test_top1="85.3"))
    with pytest.raises(ConfigError, match=r"line 3: test_top1 must be a share, 0 to 1 \(got 85.3"):
        load_bench(path)


def test_costs_of_another_network_are_named(tmp_path):
    path = damaged(tmp_path, lambda cells: cells[1].update(macs="7000000"))
    with pytest.raises(ConfigError, match="line 3: macs must be those of its network"):
        load_bench(path)


def test_a_training_that_stands_twice_is_named(tmp_path):
    path = damaged(tmp_path, lambda cells: cells.append(dict(cells[1])))
    with pytest.raises(ConfigError, match=r"line 6: every training .* with seed 0 again"):
        load_bench(path)


@pytest.mark.parametrize("line", ['a,"b', "," * 60])
def test_a_line_that_is_no_line_of_a_table_is_named(tmp_path, line):
    path = written(tmp_path / "b", rows(3))
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(ConfigError, match=r"must be a line of a table \(got: [^\n]*(row 4|line 5)"):
        load_bench(path)


def test_a_line_that_is_cut_short_is_named(tmp_path):
    path = written(tmp_path / "b", rows(3))
    *head, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*head, last[:20]]))
    with pytest.raises(ConfigError, match="line 4: must have a number for val_top1"):
        load_bench(path)


def test_a_card_of_another_version_is_refused(tmp_path):
    path = written(tmp_path / "b", rows(2))
    card_path(path).write_text(card_path(path).read_text().replace("version: 1", "version: 2"))
    with pytest.raises(ConfigError, match="schema_version"):
        load_bench(path)


def test_ratios_and_layer_scales_of_any_length_survive_their_words():
    arch = rows(1)[0].arch
    stages = tuple(s.model_copy(update={"mlp_ratio": 4 / 3}) for s in arch.stages)
    odd = arch.model_copy(update={"stages": stages, "layer_scale": 1e-4})
    common = CARD.input.model_copy(update={"layer_scale": 1e-4})
    assert decode_arch(encode_arch(odd), common).key == odd.key != arch.key


def test_a_row_without_a_figure_is_named(tmp_path):
    path = damaged(tmp_path, lambda cells: cells[0].update(val_loss=""))
    with pytest.raises(ConfigError, match="line 2: must have a number for val_loss"):
        load_bench(path)


def test_missing_columns_are_named(tmp_path):
    kept = [c for c in COLUMNS if c not in ("val_loss", "stage1.dim")]
    path = damaged(tmp_path, lambda cells: kept)
    with pytest.raises(ConfigError, match=r"got none called val_loss, stage1.dim\)"):
        load_bench(path)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("stage1.dim", "17"), ("stage2.kernels", "4"), ("stage1.depth", "x"), ("seed", "")],
)
def test_a_row_that_is_no_network_is_named(tmp_path, cell, value):
    path = damaged(
        tmp_path,
        lambda cells: cells[1].update(
            {
                cell: value,
                "stage2.depth": "1",
                "stage1.attention_ratio": "1" if cell == "stage1.dim" else "0",
                "stage1.head_dim": "2" if cell == "stage1.dim" else "",
            }
        ),
    )
    with pytest.raises(ConfigError, match="line 3: "):
        load_bench(path)


def test_an_edited_network_does_not_have_its_key(tmp_path):
    path = damaged(tmp_path, lambda cells: cells[0].update({"stage4.mlp_ratio": "3"}))
    with pytest.raises(ConfigError, match="line 2: its key must be that of its network"):
        load_bench(path)


def test_no_card_no_bench(tmp_path):
    path = written(tmp_path / "b", rows(2))
    card_path(path).unlink()
    with pytest.raises(StoreError, match="is no bench"):
        load_bench(path)


def test_no_rows_no_bench(tmp_path):
    with pytest.raises(ConfigError, match="holds no training"):
        load_bench(written(tmp_path / "b", []))


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(UnknownName, match="bench"):
        load_bench("smt-bench-mimi")
    assert bench_names() == ["smt-bench-mini"]


class TestWriting:
    def test_rows_are_appended_and_a_torn_line_is_cut_off(self, tmp_path):
        table, made = tmp_path / TABLE, rows(3)
        prepare_table(table, CARD)
        for row in made:
            append_row(table, row)
        with table.open("a") as file:
            file.write(format_csv(made[:1], header=False)[:100])  # as a crash leaves it
        found = list(recover_rows(table, CARD.input))
        assert [r.arch.key for r in found] == [r.arch.key for r in made]
        append_row(table, replace(made[0], seed=1))
        assert [r.seed for r in load_bench(table).rows] == [0, 0, 0, 1]

    def test_a_network_with_an_added_field_adds_its_column_and_changes_no_other_row(self, tmp_path):
        table, (one, two, three) = tmp_path / TABLE, rows(3)
        stages = [s.model_copy(update={"ffn_kernel": 5}) for s in two.arch.stages]
        other = two.arch.model_copy(update={"stages": (*stages[:2], *two.arch.stages[2:])})
        made = [one, replace(two, arch=other), three]
        prepare_table(table, CARD)
        plain = table.read_text().splitlines()[0]
        for row in made:
            append_row(table, row)
        header = table.read_text().splitlines()[0]
        assert "ffn_kernel" not in plain
        assert set(header.split(",")) - set(plain.split(",")) == {
            "stage1.ffn_kernel",
            "stage2.ffn_kernel",
        }
        found = load_bench(table)
        assert [r.arch.key for r in found.rows] == [r.arch.key for r in made]
        assert found.frame()["stage1.ffn_kernel"].tolist() == [3, 5, 3]
        assert format_csv(found.rows) == table.read_text()

    def test_the_same_bench_goes_on_and_another_is_refused(self, tmp_path):
        table = tmp_path / TABLE
        prepare_table(table, CARD)
        append_row(table, rows(1)[0])
        prepare_table(table, CARD.model_copy(update={"description": "other words"}))
        assert len(list(recover_rows(table, CARD.input))) == 1
        for change, word in (
            ({"space_digest": "000000000000"}, "space_digest"),
            ({"recipe": {"epochs": 2, "images": 100}}, "recipe.epochs"),
            ({"recipe": {**CARD.recipe, "new": 1}}, "recipe.new"),
            ({"recipe": {"epochs": 1}}, "recipe.images"),
            ({"data": "mnist"}, "data"),
        ):
            with pytest.raises(StoreError, match=f"holds a bench with {word}"):
                prepare_table(table, CARD.model_copy(update=change))

    def test_other_images_of_the_same_name_are_refused(self, tmp_path):
        prepare_table(tmp_path / TABLE, CARD.model_copy(update={"data_digest": "a"}))
        with pytest.raises(StoreError, match=r"with labels a .* \(got b\).* choose another --out"):
            prepare_table(tmp_path / TABLE, CARD.model_copy(update={"data_digest": "b"}))

    def test_a_card_from_before_there_was_a_digest_goes_on(self, tmp_path):
        prepare_table(tmp_path / TABLE, CARD)
        prepare_table(tmp_path / TABLE, CARD.model_copy(update={"data_digest": "b"}))

    def test_a_folder_of_something_else_is_refused(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(StoreError, match="must be empty or new"):
            prepare_table(tmp_path / TABLE, CARD)

    def test_a_killed_begin_leaves_what_the_next_one_takes_up(self, tmp_path):
        table = tmp_path / TABLE
        card_path(table).write_text(to_yaml(CARD.model_dump(mode="json")))
        prepare_table(table, CARD)
        assert table.read_text().startswith("key,")


def test_a_full_disk_keeps_the_rows_before(tmp_path, monkeypatch):
    table = tmp_path / TABLE
    prepare_table(table, CARD)
    one, two = rows(2)
    append_row(table, one)
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(StoreError, match="the rows before are kept"):
        append_row(table, two)
    monkeypatch.undo()
    assert next(recover_rows(table, CARD.input)).arch == one.arch
