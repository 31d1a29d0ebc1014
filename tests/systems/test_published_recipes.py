"""Stages that train a published size have a recipe for every one."""

from __future__ import annotations

import pytest

from kinema import registry

NAMES = (
    *("uniformerv2", "zeroi2v", "videomae_v2", "vivit_frozen", "ia_red2", "tnt", "cvt"),
    "frozen_in_time",
)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_has_a_recipe(name: str) -> None:
    system = registry.system_class(name)
    published = [stage for stage in system.STAGES.values() if "full" in stage.recipes]
    assert published
    for stage in published:
        assert stage.recipes.keys() == system.PRESETS.keys()
