"""The survey as a system: its job gives what the search gives, as a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kinema.catalog import Facets, catalog, search
from kinema.errors import InputError
from kinema.sample import Text
from kinema.systems.survey_video_diffusion import SYSTEM


def test_the_table_holds_what_is_found(tmp_path: Path) -> None:
    (table,) = SYSTEM().run({"query": Text("pose guided dance")}, 0).values()
    table.write(tmp_path / "found.json")
    found = search(catalog(), "pose guided dance", Facets()).methods
    written = json.loads((tmp_path / "found.json").read_text())
    assert [row["title"] for row in written] == [method.title for method in found[:20]]
    assert [row["arxiv"] for row in written] == [method.arxiv for method in found[:20]]
    assert {row["task"] for row in written} >= {"controlled", "understanding"}


def test_what_the_list_does_not_tell_is_written_so() -> None:
    (table,) = SYSTEM().run({"query": Text("Pika")}, 0).values()
    assert dict(zip(table.columns, table.rows[0]))["year"] == "unknown"


def test_a_query_like_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="nothing in the catalog is like 'qqqq'"):
        SYSTEM().run({"query": Text("qqqq")}, 0)
