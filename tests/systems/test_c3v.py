"""C3V: plans, films, and refinement by score distillation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kinema.condition import Conditions
from kinema.config import override, to_dict
from kinema.errors import InputError
from kinema.networks.ltx_transformer import patchify
from kinema.noise import Noise
from kinema.processes.guidance import Term, linear, plain
from kinema.sample import Text
from kinema.scenes.composition import Composition, Layout
from kinema.scenes.director import EXAMPLE, RuleDirector, direct
from kinema.scenes.plan import Placed, Plan
from kinema.systems.c3v import C3V
from kinema.systems.c3v_config import nano, tiny
from kinema.systems.c3v_prior import pixels, prepare, score
from kinema.systems.c3v_refinement import LayoutObjective, Score
from kinema.systems.c3v_training import SPOTS, Compositions
from kinema.training.fit import fit

SIDE = 16


@pytest.fixture(scope="module")
def model() -> C3V:
    torch.manual_seed(0)
    return C3V(nano())


def oracle(truth: Tensor) -> Score:
    """The score of a prior that knows one picture only, `truth` (3, S, S).

    Its flow predicts the velocity (x - x0) / t, whatever the noise was.
    """
    process = C3V.process

    def predict(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        return (x - truth) / time[:, None, None, None]

    def score(pictures: Tensor, time: Tensor, noise: Noise) -> Tensor:
        x0 = pictures.detach()
        return process.distill(predict, x0, Conditions({}), noise, time, plain)

    return score


@pytest.fixture(scope="module")
def scene() -> tuple[Composition, Layout]:
    """Somebody who stands, where they should be."""
    plan = direct(RuleDirector(2), "a red person stands in a room")
    plan = plan.with_places({0: Placed(height=1.7, locations=((0.0, 0.0, 0.0),) * 2)})
    composition = Composition(plan, device="cpu")
    return composition, composition.layout(plan)


# -- distillation ----------------------------------------------------------------------------


def test_a_perfect_denoiser_asks_for_nothing_in_expectation() -> None:
    """For normal data the best prediction is known; over many noises its gradient is 0."""
    count, deviation = 40_000, 0.7

    def predict(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        t = time[:, None]
        variance = (1 - t) ** 2 * deviation**2 + t**2
        return x * (t - (1 - t) * deviation**2) / variance

    noise = Noise(0, (0,))
    x0 = deviation * noise.normal((1, count), "data")
    for time in (0.1, 0.5, 0.9):
        at = torch.tensor([time])
        gradient = C3V.process.distill(predict, x0, Conditions({}), noise, at, plain)
        spread = float(gradient.std()) / count**0.5
        assert spread > 1e-4
        assert abs(float(gradient.mean())) < 4 * spread
        # For data that are too wide it is not: it pulls them together.
        wide = C3V.process.distill(predict, 2 * x0, Conditions({}), noise, at, plain)
        assert float((wide * x0).mean()) > 10 * spread


def test_a_prior_that_is_sure_pulls_towards_its_picture() -> None:
    truth, picture = (Noise(i, (0,)).normal((1, 3, 4, 4), "picture") for i in range(2))
    time = torch.tensor([0.4])
    gradient = oracle(truth[0])(picture, time, Noise(0, (0,)))
    assert torch.allclose(gradient, (picture - truth) * 0.6 / 0.4, atol=1e-4)
    assert not oracle(truth[0])(truth, time, Noise(0, (0,))).abs().max() > 1e-5


def test_refinement_finds_what_a_sure_prior_sees(scene: tuple[Composition, Layout]) -> None:
    composition, truth = scene
    picture = composition.picture(truth, 0, height=SIDE, width=SIDE)
    coarse = Layout(truth.heights * 1.2, truth.locations + torch.tensor([0.15, 0.1, 0.0]))
    numbers = replace(tiny().refinement, height_steps=15, location_steps=40, draws=1)
    variables = LayoutObjective(composition, coarse, oracle(picture), numbers, side=SIDE)
    fit(variables, numbers.recipe, seed=0, device="cpu")
    before, after = coarse.errors(truth), variables.layout.errors(truth)
    assert after["height ratio"] - 1 < 0.6 * (before["height ratio"] - 1)
    assert after["meters"] < 0.6 * before["meters"]


def test_only_the_layout_moves_and_in_turns(model: C3V, scene: tuple[Composition, Layout]) -> None:
    composition, truth = scene
    numbers = model.config.refinement
    variables = LayoutObjective(composition, truth, score(model, "x"), numbers, side=SIDE)
    assert [name for name, _ in variables.named_parameters()] == ["heights", "locations"]
    assert set(variables.state_dict()) == {"heights", "locations"}
    assert [variables.turns(step) for step in range(3)] == [
        ("heights",),
        ("locations",),
        ("locations",),
    ]
    noise = Noise(0, (0, 1))
    for player in ("heights", "locations"):
        loss, logs = variables.loss(player, {}, 1, noise)
        own = getattr(variables, player)
        (gradient,) = torch.autograd.grad(loss, own)
        assert gradient.any(), player
        assert logs["loss"] > 0
    for parameter in model.parts.parameters():
        assert parameter.grad is None


def test_the_score_is_the_process_of_the_prior_under_guidance(model: C3V) -> None:
    pictures = Noise(0, (0, 1)).normal((2, 3, 16, 16), "pictures")
    time, noise = torch.tensor([0.3, 0.8]), Noise(5, (0, 1))
    found = score(model, EXAMPLE)(pictures, time, noise)
    guidance = linear([Term(weight=6.5, drop=("text",))])

    raw = model.process.distill(
        model.parts["prior"],
        patchify(pictures[:, :, None], size=4),
        prepare(model, [EXAMPLE] * 2),
        noise,
        time,
        guidance,
    )
    weight = time**2 / (time**2 + (1 - time) ** 2)
    assert torch.allclose(found, weight[:, None, None, None] * pixels(model, raw), atol=1e-5)


# -- jobs ------------------------------------------------------------------------------------


def test_a_composed_plan_renders_to_the_composed_film(model: C3V, tmp_path: Path) -> None:
    made = model.run({"prompt": Text(EXAMPLE)}, 3)
    clip, plan, scene = made["clip"], made["plan"], made["scene"]
    assert clip.frames.shape == (3, 24, 24, 3)
    assert plan.objects[0].placed is not None
    assert len(scene) > 300
    plan.write(tmp_path / "plan.json")
    again = model.run({"plan": Plan.given(str(tmp_path / "plan.json"))}, 0, "render")["clip"]
    assert (again.frames == clip.frames).all()
    planned = model.run({"prompt": Text(EXAMPLE)}, 3, "plan")["plan"]
    assert planned.objects[0].placed is None
    assert replace(plan.objects[0], placed=None) == planned.objects[0]


def test_refinement_stays_in_its_bounds(model: C3V) -> None:
    planned = model.run({"prompt": Text(EXAMPLE)}, 0, "plan")["plan"]
    coarse = Composition(planned, device="cpu").layout(planned)
    placed = model.run({"prompt": Text(EXAMPLE)}, 0)["plan"].objects[0].placed
    numbers = model.config.refinement
    off = torch.tensor(placed.locations) - coarse.locations[0]
    assert off.any()
    assert off.abs().max() <= numbers.location_bound / 2
    ratio = placed.height / float(coarse.heights)
    assert ratio != 1
    assert abs(ratio - 1) <= numbers.height_bound / 2


def test_a_changed_object_keeps_the_rest_of_the_film(model: C3V, tmp_path: Path) -> None:
    prompt = "a red person stands on the left and a blue person stands on the right in a hall"
    film = model.run({"prompt": Text(prompt)}, 0)
    content = to_dict(film["plan"])
    content["objects"][1]["appearance"] = "green"
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(content))
    edited = model.run({"plan": Plan.given(str(path))}, 0, "render")["clip"]
    different = (edited.frames != film["clip"].frames).any(-1)
    assert different.any()
    assert not different[:, :, :10].any()


def test_prompts_that_nobody_understands_are_refused(model: C3V) -> None:
    for job in ("compose", "plan"):
        with pytest.raises(InputError, match="does not understand"):
            model.run({"prompt": Text("une etoile rouge")}, 0, job)


# -- what the prior learns -------------------------------------------------------------------


def test_compositions_are_as_they_should_be() -> None:
    source = Compositions(seed=0, count=20, num_frames=4, side=SIDE)
    words = set()
    for index in range(20):
        correct = source.correct(index)
        item = correct.plan.objects[0]
        assert item.placed is not None
        assert item.placed.height == {"person": 1.7, "child": 1.1}[item.name]
        assert all(y == 0 for _, y, _ in item.placed.locations)
        assert correct.prompt.startswith(f"a {item.appearance} {item.name} {item.motion}")
        words |= set(correct.prompt.replace(",", " , ").split())
        start = correct.prompt.split()[5 if " from " in correct.prompt else 6]
        x, z = SPOTS[start]
        assert abs(item.placed.locations[0][0] - x) <= 0.2
        assert abs(item.placed.locations[0][2] - z) <= 0.2
    assert words <= set(tiny().text.vocabulary)
    assert words >= {"room", "hall", "yard", "person", "child", "walks", "orbits"}


def test_batches_repeat_and_begin_anew() -> None:
    source = Compositions(seed=0, count=3, num_frames=4, side=SIDE)
    first, again = source((0, 2)), Compositions(seed=0, count=3, num_frames=4, side=SIDE)((3, 5))
    assert torch.equal(first["pictures"], again["pictures"])
    assert first["prompts"] == again["prompts"]
    assert first["pictures"].shape == (2, 3, SIDE, SIDE)
    assert first["pictures"].abs().max() <= 1 + 1e-5
    other = Compositions(seed=1, count=3, num_frames=4, side=SIDE)((0, 2))
    assert not torch.equal(first["pictures"], other["pictures"])


def test_data_that_is_named_is_refused(model: C3V) -> None:
    stage = model.STAGES["prior"]
    with pytest.raises(InputError, match="unknown world 'clips'"):
        stage.read(model, stage.recipes["nano"], "clips")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("pictures.patch=8", "latent_channels of prior must be 192"),
        ("pictures.patch=5", "side 16 is not divisible by patch 5"),
        ("text.width=24", "caption_channels of prior must be 24"),
        ("refinement.height_bound=2", r"height_bound must lie in \(0, 2\)"),
        ("refinement.times=[0.5, 0.4, 0.9]", "the lowest first"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(setting: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        override(nano(), [setting])
