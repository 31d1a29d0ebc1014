from __future__ import annotations

import numpy as np
import pytest

from kinema.weights.fill import fill, fill_one

# First values recorded from the program that made the cases.
RECORDED = {
    "blocks.0.norm.weight": ((64,), 7, 0.9933916330337524, 62.94174778461456),
    "conv.weight": ((4, 3, 2, 2, 2), 52, 0.2315576672554016, 1.3751675051171333),
    "scale": ((), 51, 0.8441864848136902, 0.8441864848136902),
    "x.bias": ((9,), 0, -0.18838337063789368, -0.24700404540635645),
    "bn.running_var": ((5,), 3, 1.1755273342132568, 6.182477295398712),
    "table": ((2, 6), 51, -0.40947574377059937, -0.249853253364563),
}


@pytest.mark.parametrize("key", RECORDED)
def test_values_are_those_the_cases_were_recorded_with(key):
    shape, seed, first, total = RECORDED[key]
    x = fill_one(key, shape, seed)
    assert x.shape == shape
    assert np.isclose(x.reshape(-1)[0], first, rtol=1e-6)
    assert np.isclose(x.sum(dtype=np.float64), total, rtol=1e-6)


def test_names_decide_the_rule():
    drawn = fill(
        {
            "conv.weight": (400, 4, 3, 3),
            "norm.weight": (5000,),
            "norm.bias": (5000,),
            "norm.running_var": (5000,),
            "norm.num_batches_tracked": (),
        },
        seed=1,
    )
    assert drawn["conv.weight"].std() == pytest.approx(36**-0.5, rel=0.05)
    assert drawn["norm.weight"].mean() == pytest.approx(1, abs=0.01)
    assert drawn["norm.weight"].std() == pytest.approx(0.1, rel=0.05)
    assert drawn["norm.bias"].mean() == pytest.approx(0, abs=0.01)
    assert drawn["norm.running_var"].min() >= 0.5
    assert drawn["norm.num_batches_tracked"].dtype == np.int64


def test_a_tensor_depends_on_its_own_name_and_the_seed_alone():
    both = fill({"a.weight": (3, 4), "b.weight": (3, 4)}, seed=5)
    assert np.array_equal(both["b.weight"], fill({"b.weight": (3, 4)}, seed=5)["b.weight"])
    assert not np.array_equal(both["a.weight"], both["b.weight"])
    assert not np.array_equal(both["a.weight"], fill_one("a.weight", (3, 4), 6))
