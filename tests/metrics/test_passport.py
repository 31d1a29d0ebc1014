"""Passports: they survive JSON, and scores compare only if every field agrees."""

from __future__ import annotations

import dataclasses
import json

import pytest

from kinema.errors import InputError
from kinema.metrics.passport import Passport, Score, as_json, compare, read_scores

PASSPORT = Passport(
    score="fvd-rand",
    variant="covariance over N - 1",
    extractor="random I3D logits (seed 0, a stand-in)",
    weights="0011223344556677",
    preprocessing="first 16 frames; tensorflow, 112x112",
    interval="95 %, jackknife of generated clips, 10 groups",
    num_real=128,
    num_generated=128,
    skipped_real=0,
    skipped_generated=1,
    num_frames=16,
    fps=8.0,
    height=64,
    width=96,
    reference="8899aabbccddeeff",
    seed=0,
    versions={"kinema": "0.1.0", "torch": "2.13.0"},
)
SCORE = Score(name="fvd-rand", value=12.5, interval=(11.0, 14.0), passport=PASSPORT)
OTHER = {
    "fps": None,
    "versions": {"kinema": "0.1.0", "torch": "2.14.0"},
    **{f.name: 7 for f in dataclasses.fields(Passport) if f.type == "int"},
    **{f.name: "other" for f in dataclasses.fields(Passport) if f.type == "str"},
}


def test_a_score_survives_json(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"scores": as_json([SCORE])}))
    assert read_scores(path) == [SCORE]


def test_scores_of_one_passport_compare():
    better = dataclasses.replace(SCORE, value=10.0, interval=(9.0, 10.9))
    (pair,) = compare([SCORE], [better])
    assert (pair.a.value, pair.b.value, pair.overlap) == (12.5, 10.0, False)
    assert compare([SCORE], [dataclasses.replace(better, interval=(9.0, 11.0))])[0].overlap


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Passport)])
def test_any_field_that_differs_is_named(name):
    passport = dataclasses.replace(PASSPORT, **{name: OTHER[name]})
    other = dataclasses.replace(SCORE, passport=passport)
    with pytest.raises(InputError, match=f"fvd-rand was not computed alike.*: {name}: "):
        compare([SCORE], [other])


def test_scores_without_one_in_common_are_refused():
    with pytest.raises(InputError, match="no score in common"):
        compare([SCORE], [dataclasses.replace(SCORE, name="psnr")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "holds no scores"),
        ("[]", "holds no scores"),
        ("[" * 9999, "holds no scores"),
        ('{"scores": 5}', "holds no scores"),
        ('{"scores": null}', "holds no scores"),
        ('{"scores": "ab"}', "malformed"),
        (f'{{"scores": [{{"name": "a", "value": {10**400}, "interval": [0, 2]}}]}}', "malformed"),
        ('{"scores": [{"name": "psnr"}]}', "malformed"),
        ('{"scores": [{"name": "a", "value": 1, "interval": [0, 2], "passport": {}}]}', "lacks"),
    ],
)
def test_a_file_that_holds_none_is_named(tmp_path, text, said):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"scores\.json.*{said}"):
        read_scores(path)
    with pytest.raises(InputError, match="cannot read"):
        read_scores(tmp_path / "none.json")


def test_an_unknown_field_is_named():
    values = {**dataclasses.asdict(PASSPORT), "mood": "good"}
    with pytest.raises(InputError, match="unknown field 'mood'"):
        Passport.from_json(values)
