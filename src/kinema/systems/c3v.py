"""C3V: Compositional 3D-aware Video Generation with LLM Director (arXiv 2409.00558), NeurIPS 2024.

Authors' code: none published, so no license. Experts for scenes, figures and motions stand in
`kinema.scenes.assets`, the director in `kinema.scenes.director`.

Letters: B pictures, N tokens, S side of a picture; T, H, W frames, rows, columns of a film.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch

from kinema.card import Card
from kinema.clip import Clip
from kinema.data.clips import to_clip
from kinema.networks.ltx_transformer import LTXTransformer
from kinema.networks.word_encoder import WordEncoder
from kinema.processes import schedules
from kinema.processes.flow import Flow, LogitNormal
from kinema.sample import Text
from kinema.scenes.composition import Composition, Layout
from kinema.scenes.director import EXAMPLE, Director, RuleDirector, direct
from kinema.scenes.gaussians import Gaussians
from kinema.scenes.plan import Plan
from kinema.systems.c3v_config import C3VConfig, full, nano, tiny
from kinema.systems.c3v_prior import score
from kinema.systems.c3v_refinement import LayoutObjective
from kinema.systems.c3v_training import STAGES
from kinema.systems.model import Model, Part
from kinema.systems.system import Job
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
    STAGES = STAGES
    JOBS: ClassVar = {
        "compose": Job(
            takes={"prompt": Text}, gives={"clip": Clip, "plan": Plan, "scene": Gaussians}
        ),
        "plan": Job(takes={"prompt": Text}, gives={"plan": Plan}),
        "render": Job(takes={"plan": Plan}, gives={"clip": Clip}),
    }
    config: C3VConfig
    text = Part(WordEncoder)
    prior = Part(LTXTransformer)
    process = Flow(times=LogitNormal(shift=SHIFT))

    @property
    def director(self) -> Director:
        """Who plans films."""
        return RuleDirector(self.config.sampling.num_frames)

    # -- films -------------------------------------------------------------------------------

    def refine(self, prompt: str, composition: Composition, coarse: Layout, seed: int) -> Layout:
        """The layout after score distillation (section 3.4)."""
        numbers, side = self.config.refinement, self.config.pictures.side
        variables = LayoutObjective(composition, coarse, score(self, prompt), numbers, side=side)
        fit(variables, numbers.recipe, seed=seed, device=str(self.device))
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
        return to_clip(torch.stack(frames, 1), size.fps)

    # -- jobs --------------------------------------------------------------------------------

    def unknown_words(self, text: str) -> list[str]:
        """Those of the prior; raises InputError if the director does not understand the prompt."""
        direct(self.director, text)
        return super().unknown_words(text)

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
