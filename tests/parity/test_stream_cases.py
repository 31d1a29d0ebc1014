from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kinema.errors import InputError
from kinema.parity.case import read_case
from kinema.parity.runner import find_cases, relative_error
from kinema.parity.stream import ADAPTERS

FOLDERS = find_cases([Path(__file__).parents[1] / "cases" / "18-stream"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_scores_are_those_of_the_authors_to_the_last_digit(folder):
    case = read_case(folder)
    found = ADAPTERS[case.entry](case)
    assert set(found) == set(case.expected)
    for name, expected in case.expected.items():
        assert found[name].dtype == expected.dtype
        limit = 1e-6 if "skew" in name else 1e-12
        assert relative_error(found[name], expected) < limit, name


def test_a_case_of_other_sizes_than_it_says_is_refused():
    case = read_case(FOLDERS[0])
    wrong = dataclasses.replace(case, config={**case.config, "num_frame": 8})
    with pytest.raises(InputError, match=r"must be \(N, 8,"):
        ADAPTERS["scores"](wrong)
    unknown = dataclasses.replace(case, config={**case.config, "model": "swav"})
    with pytest.raises(InputError, match="unknown argument of the entry scores 'model'"):
        ADAPTERS["scores"](unknown)
