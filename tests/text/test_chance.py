import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from shoptalk.text.chance import uniform


def test_chances_are_uniform_and_streams_steps_and_neighbours_are_independent():
    examples, places = (grid.ravel() for grid in np.mgrid[0:200, 0:50])
    drawn = {
        (step, stream): uniform(0, step, examples, places, stream=stream) for step in range(2) for stream in range(2)
    }
    for values in drawn.values():
        assert kstest(values, "uniform").pvalue > 1e-3
        assert kstest(values.reshape(200, 50).mean(1) * 50**0.5, "norm", (0.5 * 50**0.5, 12**-0.5)).pvalue > 1e-3
        # 10,000 pairs: the standard error of a correlation is 0.01.
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.045
        assert abs(np.corrcoef(values[:-50], values[50:])[0, 1]) < 0.045
    flat = np.stack(list(drawn.values()))
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.045


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_a_chance_is_a_function_of_its_place_alone(seed: int, step: int, examples: list[int]):
    numbers = np.array(examples)
    values = uniform(seed, step, numbers, numbers % 7, stream=0)
    assert ((values >= 0) & (values < 1)).all()
    assert values[-1] == uniform(seed, step, numbers[-1:], numbers[-1:] % 7, stream=0)[0]
