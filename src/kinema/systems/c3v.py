"""C3V: Compositional 3D-aware Video Generation with LLM Director (arXiv 2409.00558), NeurIPS 2024.

Authors' code: none published, so no license. Experts for scenes, figures and motions stand in
`kinema.scenes.assets`, the director in `kinema.scenes.director`.

Letters: B pictures, N tokens, S side of a picture; T, H, W frames, rows, columns of a film.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.condition import Conditions, Grid
from kinema.networks.ltx_transformer import (
    LTXTransformer,
    latent_positions,
    patchify,
    unpatchify,
)
from kinema.networks.word_encoder import WordEncoder
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.flow import Flow, LogitNormal
from kinema.processes.guidance import Term, linear, plain
from kinema.sample import Text
from kinema.scenes.composition import Composition, Layout
from kinema.scenes.director import EXAMPLE, Director, RuleDirector, direct
from kinema.scenes.gaussians import Gaussians
from kinema.scenes.plan import Plan
from kinema.systems.c3v_config import C3VConfig, full, nano, tiny
from kinema.systems.c3v_refinement import LayoutObjective, Score
from kinema.systems.c3v_training import STAGES
from kinema.systems.model import Job, Model
from kinema.training.fit import fit

CARD = Card(
    name="c3v",
    number=57,
    title="Compositional 3D-aware Video Generation with LLM Director",
    arxiv="2409.00558",
    year=2024,
    kind="scene",
    job="a prompt becomes a plan, a scene of 3-D Gaussians, and a film of it",
    code="none published",
    code_license="none",
    weights_license="none published",
    claim="distillation into the layout brings size, place and heading nearer to the truth",
    applies=("full", "tiny", "run", "claim"),
    verified=(
        "nothing of the authors' runs: no code or weights are published",
        "splatting, against analytic pictures and finite differences",
    ),
    inferred=("all numbers of score distillation; the paper gives them in its appendix",),
    deviations=(
        "experts are procedural: scenes of floors and boxes, a stick figure with cyclic motions",
        "the director goes by rules over a small grammar; no language model looks at the scene",
        "the prior is a small pixel transformer with a rectified flow, trained on our own scenes; "
        "Stable Diffusion in the paper",
        "headings are horizontal, so that objects stand upright; the origin of an object is "
        "between its feet, not in its middle",
        "an object that stands still has one location for all frames",
    ),
)
SHIFT = schedules.TokenShift(tokens=(64, 1024), mu=(0.0, 1.5))


class C3V(Model):
    """The system; the state of its prior's process is tokens of pictures (B, N, C)."""

    CARD = CARD
    CONFIG = C3VConfig
    PRESETS: ClassVar = {preset.__name__: preset for preset in (full, tiny, nano)}
    PARTS: ClassVar = {"text": WordEncoder, "prior": LTXTransformer}
    STAGES = STAGES
    JOBS: ClassVar = {
        "compose": Job(
            takes={"prompt": Text}, gives={"clip": Clip, "plan": Plan, "scene": Gaussians}
        ),
        "plan": Job(takes={"prompt": Text}, gives={"plan": Plan}),
        "render": Job(takes={"plan": Plan}, gives={"clip": Clip}),
    }
    config: C3VConfig
    process = Flow(times=LogitNormal(shift=SHIFT))

    @property
    def director(self) -> Director:
        """Who plans films."""
        return RuleDirector(self.config.sampling.num_frames)

    # -- the prior ---------------------------------------------------------------------------

    def prepare(self, prompts: Sequence[str]) -> Conditions:
        """Encoded prompts, whose null is the empty one, and the positions of the tokens."""
        text: Any = self.parts["text"]
        side, patch = self.config.pictures.side, self.config.pictures.patch
        positions = latent_positions(1, side, side, device=self.device, size=patch)
        grid = Grid(x=positions.expand(len(prompts), -1, -1))
        return Conditions({"text": text(text.ids(prompts).to(self.device)), "positions": grid})

    def pixels(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, C) as pictures (B, 3, S, S)."""
        side = self.config.pictures.side
        return unpatchify(tokens, side, side, size=self.config.pictures.patch)[:, :, 0]

    @torch.no_grad()
    def draw(self, prompts: Sequence[str], noise: Noise) -> Tensor:
        """Pictures (B, 3, S, S) of the prior alone, without guidance: what it knows."""
        pictures = self.config.pictures
        shape = (len(prompts), (pictures.side // pictures.patch) ** 2, 3 * pictures.patch**2)
        tokens = self.process.sample(
            self.parts["prior"],
            self.process.start(shape, noise).to(self.device),
            schedules.with_zero(schedules.linear(pictures.steps)),
            conditions=self.prepare(prompts),
            guidance=plain,
        )
        return self.pixels(tokens)

    def score(self, prompt: str) -> Score:
        """The prior's distillation gradient under a prompt.

        Its weight is 1 - abar of the time, sigma^2 / (alpha^2 + sigma^2) of a flow.
        """
        count = self.config.refinement.draws
        guidance = linear([Term(weight=self.config.refinement.guidance - 1, drop=("text",))])
        with torch.no_grad():
            prepared = {n: self.prepare([prompt] * n) for n in {1, count}}

        def score(pictures: Tensor, time: Tensor, noise: Noise) -> Tensor:
            tokens = patchify(pictures.detach()[:, :, None], size=self.config.pictures.patch)
            gradient = self.process.distill(
                self.parts["prior"], tokens, prepared[len(tokens)], noise, time, guidance
            )
            weight = time**2 / (time**2 + (1 - time) ** 2)
            return weight[:, None, None, None] * self.pixels(gradient)

        return score

    # -- films -------------------------------------------------------------------------------

    def refine(self, prompt: str, composition: Composition, coarse: Layout, seed: int) -> Layout:
        """The layout after score distillation (section 3.4)."""
        numbers, side = self.config.refinement, self.config.pictures.side
        variables = LayoutObjective(composition, coarse, self.score(prompt), numbers, side=side)
        fit(variables, numbers.recipe, folder=None, seed=seed, device=str(self.device))
        with torch.no_grad():
            return variables.layout

    @torch.no_grad()
    def film(self, composition: Composition, layout: Layout) -> Clip:
        """All frames."""
        size = self.config.sampling
        frames = [
            composition.picture(layout, frame, height=size.height, width=size.width)
            for frame in range(len(composition.cameras))
        ]
        return Clip.from_float(torch.stack(frames, 1).cpu().numpy(), size.fps)

    # -- jobs --------------------------------------------------------------------------------

    def run_compose(
        self, inputs: Mapping[str, Text], seed: int
    ) -> dict[str, Clip | Plan | Gaussians]:
        """The film of a prompt, its plan with the places that were found, and its first frame."""
        prompt = inputs["prompt"].text
        plan = direct(self.director, prompt)
        composition = Composition(plan, device=self.device)
        layout = self.refine(prompt, composition, composition.layout(plan), seed)
        return {
            "clip": self.film(composition, layout),
            "plan": plan.with_places(layout.placed()),
            "scene": composition.world(layout, 0),
        }

    def run_plan(self, inputs: Mapping[str, Text], seed: int) -> dict[str, Plan]:
        """The plan of a prompt, before anything is placed in the world."""
        return {"plan": direct(self.director, inputs["prompt"].text)}

    def run_render(self, inputs: Mapping[str, Plan], seed: int) -> dict[str, Clip]:
        """The film of a plan: objects stand where they were found to, else where boxes say."""
        composition = Composition(inputs["plan"], device=self.device)
        return {"clip": self.film(composition, composition.layout(inputs["plan"]))}

    def example(self, job: str, folder: Path) -> dict[str, Text | Plan]:
        """A prompt, or the plan of one."""
        if job == "render":
            return {"plan": direct(self.director, EXAMPLE)}
        return {"prompt": Text(EXAMPLE)}


SYSTEM = C3V
