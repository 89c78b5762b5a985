"""Several budgets of epochs in one bench: all from one training of a network, each its own row."""

from dataclasses import replace

import pytest

from smt_nas.errors import ConfigError, StoreError
from smt_nas.nasbench import build, trainings
from smt_nas.nasbench.build import BuildRequest, build_bench
from smt_nas.nasbench.rows import BenchRow, format_csv
from smt_nas.nasbench.table import TABLE, choose_budget, load_bench
from smt_nas.runtime.progress import NullProgress
from smt_nas.yaml import read_yaml
from tests.fakes.benches import CARD, rows, written
from tests.fakes.recipes import quick
from tests.fakes.terminal import invoke

CONSTANT = CARD.model_copy(update={"recipe": {"epochs": 30}, "budgets": (2, 8, 30)})
DECIDED = ("val_top1", "val_loss", "test_top1", "test_loss", "train_loss")  # no times


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "constant.yaml"
    more = "split_seed: 0\nvalidation: 0.1\nschedule: constant\neval_every: 100\nwarmup_epochs: 0.5"
    path.write_text(quick(epochs=4, more=more))
    return str(path)


def wanted(recipe, *budgets, epochs=None):
    return BuildRequest("smt_micro", "digits", recipe, 2, 5e6, 7e6, epochs=epochs, budgets=budgets)


def run(request, out):
    return build_bench(request, out, "cpu", 1, NullProgress())


def figures(table):
    return {
        (row.arch.key, row.seed, epochs): [row.figures[name] for name in DECIDED]
        for epochs in load_bench(table).sizes
        for row in load_bench(table, epochs).rows
    }


def one_seed_only(patch):
    """Plan each network once."""
    real = build.plan_networks
    patch.setattr(build, "plan_networks", lambda *a: [replace(p, seeds=(0,)) for p in real(*a)])


@pytest.fixture(scope="module")
def built(recipe, tmp_path_factory):
    """Two networks, three budgets each."""
    with pytest.MonkeyPatch.context() as patch:
        one_seed_only(patch)
        return run(wanted(recipe, 2, 3), tmp_path_factory.mktemp("bench"))


@pytest.fixture(autouse=True)
def each_once(monkeypatch):
    one_seed_only(monkeypatch)


def made_up_rows(task):
    figures = {"val_top1": 0.5, "val_loss": 1.0, "seconds": 1.0}
    where = ("a CPU", "smt-nas 0")
    return [
        BenchRow(job.arch, task.group, job.request.seed, figures, *where, job.request.epochs)
        for job in task.jobs
    ]


def test_a_network_has_a_row_for_each_budget_as_if_it_had_been_trained_for_each(
    built, recipe, tmp_path
):
    assert (built.trainings, built.planned, built.failed) == (6, 6, {})
    assert load_bench(built.table).sizes == {2: 2, 3: 2, 4: 2}
    assert not any(p.name != ".lock" for p in (built.table.parent / "trainings").iterdir())
    card = load_bench(built.table).card
    assert (card.budgets, card.recipe["epochs"]) == ((2, 3, 4), 4)
    alone = run(wanted(recipe, epochs=2), tmp_path / "alone")
    got = figures(built.table)
    assert len(set(map(tuple, got.values()))) == 6
    for training, values in figures(alone.table).items():
        assert training[2] == 2 and got[training] == values


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("at", range(1, 6))
def test_killed_between_any_two_steps_a_build_goes_on_to_the_same_rows(
    built, recipe, tmp_path, monkeypatch, at
):
    """Steps are trainings of trunk and branches, and the branching between them."""
    steps, real = [], {n: getattr(trainings, n) for n in ("train_job", "branch_training")}

    def count(name, *values):
        if len(steps) == at:
            raise Killed
        steps.append(name)
        return real[name](*values)

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(trainings, name, lambda *values, name=name: count(name, *values))
        with pytest.raises(Killed):
            run(wanted(recipe, 2, 3), tmp_path)
    run(wanted(recipe, 2, 3), tmp_path)
    assert figures(tmp_path / TABLE) == figures(built.table)


def test_a_budget_that_is_added_later_is_trained_from_its_beginning(
    built, recipe, tmp_path, monkeypatch
):
    """The trunk is past the place, or gone."""
    with monkeypatch.context() as patch:
        patch.setattr(trainings, "_score_row", lambda *_: 1 / 0)  # the trunk is left whole
        assert len(run(wanted(recipe, 4), tmp_path).failed) == 2
    run(wanted(recipe, 2, 3), tmp_path)
    assert figures(tmp_path / TABLE) == figures(built.table)


def test_what_fails_late_keeps_the_rows_of_shorter_trainings(recipe, tmp_path, monkeypatch):
    real = trainings.train_job
    with monkeypatch.context() as patch:
        patch.setattr(
            trainings,
            "train_job",
            lambda job: real(job) if job.request.epochs == 2 or job.options.until_fall_of else "no",
        )
        found = run(wanted(recipe, 2), tmp_path)
    assert list(found.failed.values()) == ["no", "no"] and found.trainings == 2
    tasks = []
    monkeypatch.setattr(
        build, "train_and_score", lambda task: tasks.append(task) or made_up_rows(task)
    )
    assert run(wanted(recipe, 2), tmp_path).trainings == 4
    assert [[job.request.epochs for job in task.jobs] for task in tasks] == [[4], [4]]


def test_a_shorter_and_a_longer_build_share_a_table(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "train_and_score", made_up_rows)
    assert run(wanted(recipe, 2, epochs=3), tmp_path).trainings == 4
    assert run(wanted(recipe, 2, 3), tmp_path).trainings == 6
    before = (tmp_path / TABLE).read_bytes()
    assert run(wanted(recipe, 2, epochs=3), tmp_path).trainings == 6
    assert (tmp_path / TABLE).read_bytes() == before
    card = read_yaml(tmp_path / "bench.yaml")
    assert (card["budgets"], card["recipe"]["epochs"]) == ([2, 3, 4], 4)


def test_the_same_epochs_said_or_not_are_one_training(tmp_path, monkeypatch):
    """In a table of a recipe that has one budget."""
    recipe = tmp_path / "cosine.yaml"
    recipe.write_text(quick(epochs=2))
    monkeypatch.setattr(build, "train_and_score", made_up_rows)
    for request in (wanted(recipe), wanted(recipe, 2), wanted(recipe, epochs=2)):
        assert run(replace(request, recipe=str(recipe)), tmp_path / "b").trainings == 2
    assert "epochs" not in (tmp_path / "b" / TABLE).read_text().splitlines()[0].split(",")


class TestBadInput:
    def test_a_bench_of_other_budgets_is_refused(self, built, recipe):
        with pytest.raises(
            StoreError, match=r"holds a bench of budgets of 2 and 3 and 4 epochs \(got 1 and 3\)"
        ) as caught:
            run(wanted(recipe, 1, epochs=3), built.table.parent)
        assert "\n" not in str(caught.value)

    def test_a_bench_of_another_cooldown_is_refused(self, built, recipe, tmp_path):
        other = tmp_path / "other.yaml"
        with open(recipe) as file:
            other.write_text(file.read() + "\ncooldown: 0.3\n")
        card = built.table.parent / "bench.yaml"
        card.write_text(card.read_text().replace(recipe, str(other)))
        try:
            with pytest.raises(StoreError, match=r"with recipe.cooldown None \(got 0.3\)"):
                run(wanted(str(other), 2, 3), built.table.parent)
        finally:
            card.write_text(card.read_text().replace(str(other), recipe))

    def test_a_recipe_whose_rate_depends_on_its_epochs_has_one_budget(self, tmp_path):
        with pytest.raises(ConfigError, match="recipe bench: schedule must be constant"):
            run(wanted("bench", 1, 2), tmp_path / "b")
        assert not (tmp_path / "b").exists()

    def test_budgets_must_fit_into_the_longest_training(self, recipe, tmp_path):
        with pytest.raises(ConfigError, match=r"must not be more than .* 4 \(got 8\).*--epochs 8"):
            run(wanted(recipe, 2, 8), tmp_path / "b")
        with open(recipe) as file:
            text = file.read().replace("warmup_epochs: 0.5", "warmup_epochs: 1.9")
        (tmp_path / "slow.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"2 epochs: .*must fit into epochs"):
            run(wanted(str(tmp_path / "slow.yaml"), 2), tmp_path / "b")

    def test_budgets_need_a_cooldown(self, recipe, tmp_path):
        with open(recipe) as file:
            (tmp_path / "flat.yaml").write_text(file.read() + "\ncooldown: 0\n")
        flat = str(tmp_path / "flat.yaml")
        with pytest.raises(ConfigError, match="cooldown must be over 0"):
            wanted(flat, 2).list_budgets()
        assert wanted(flat).list_budgets() == (4,)

    @pytest.mark.parametrize("text", ["two", "2,,8", "0", "2.5", ""])
    def test_budgets_are_numbers_of_epochs(self, text):
        found = invoke("bench", "build", "--data", "digits", "--budgets", text, code=1)
        assert "--budgets: must be numbers of epochs" in found.stderr
        assert found.stderr.count("\n") == 1


class TestReading:
    @pytest.fixture
    def table(self, tmp_path):
        """60 networks for 8 epochs, 40 for 2, 29 for 30."""
        table = written(tmp_path / "b", [])
        made = rows(60)
        of = [replace(r, epochs=e) for e, n in ((8, 60), (2, 40), (30, 29)) for r in made[:n]]
        table.write_text(format_csv(of))
        return table

    def test_the_most_epochs_that_half_of_the_networks_have_are_read(self, table):
        bench = load_bench(table)
        assert bench.sizes == {2: 40, 8: 60, 30: 29}
        assert (bench.epochs, len(bench.networks), len(bench.rows)) == (8, 60, 60)
        longest = load_bench(table, 30)
        assert (longest.epochs, len(longest.rows)) == (30, 29)
        assert "epochs" in longest.frame().columns

    def test_old_rows_have_the_epochs_of_the_recipe(self):
        made = rows(4)
        mixed = [*made[:2], *(replace(r, epochs=1) for r in made[2:])]
        assert choose_budget("mixed", CARD, mixed).sizes == {1: 4}
        assert load_bench("smt-bench-mini").sizes == {2: 200}

    def test_a_training_may_not_stand_twice(self, table):
        text = table.read_text().splitlines()
        table.write_text("\n".join([*text, text[1]]) + "\n")
        with pytest.raises(ConfigError, match="with seed 0 and 8 epochs again"):
            load_bench(table)

    @pytest.mark.parametrize("epochs", ["0", "-2", "1.5", "many"])
    def test_epochs_that_cannot_be_are_told_with_the_line(self, table, epochs):
        lines = table.read_text().splitlines()
        at = lines[0].split(",").index("epochs")
        cells = lines[1].split(",")
        cells[at] = epochs
        table.write_text("\n".join([lines[0], ",".join(cells)]) + "\n")
        with pytest.raises(ConfigError, match="line 2: "):
            load_bench(table)

    def test_a_budget_that_no_network_has_is_refused(self, table):
        with pytest.raises(ConfigError, match=r"got 5; it has those of 2, 8, 30\)"):
            load_bench(table, 5)

    def test_show_and_validate_say_which_budget_they_mean(self, table):
        shown = invoke("bench", "show", str(table)).stdout
        assert "Networks trained for 8 epochs; the table has others too" in " ".join(shown.split())
        told = invoke("validate", "capacity", "--on", str(table), "--epochs", 2).stdout
        assert "Networks trained for 2 epochs" in " ".join(told.split())
        assert "epochs (" not in invoke("bench", "show").stdout
