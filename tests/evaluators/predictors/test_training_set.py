"""What is known of a bench's networks: how far off a training is."""

import numpy as np
import pytest

from smt_nas.evaluators.predictors.training_set import TrainingSet, estimate_seed_noise
from tests.fakes.benches import bench


@pytest.mark.parametrize("n", [10, 40])  # of which a fifth has three seeds
def test_noise_is_that_of_one_training_however_few_have_seeds(n):
    """Variances are unbiased: what seeds do to all is estimated from the same networks."""
    found = [estimate_seed_noise(bench(n, noise=0.002, seeds=3, seed=s)) for s in range(60)]
    assert np.mean(np.square(found)) == pytest.approx(0.2**2, rel=0.2)


@pytest.mark.parametrize(("n", "seeds"), [(10, 1), (3, 2)])  # the latter: one network trained twice
def test_where_it_cannot_be_told_it_is_none(n, seeds):
    assert estimate_seed_noise(bench(n, seeds=seeds)) == 0


def test_a_mean_of_several_trainings_is_less_off():
    known = TrainingSet.of(bench(40, seeds=3))
    np.testing.assert_allclose(known.label_std, known.noise / np.sqrt(known.seeds))
    assert set(known.seeds) == {1, 3} and known.noise > 0
    assert (known.take(np.array([3, 0])).seeds == known.seeds[[3, 0]]).all()
