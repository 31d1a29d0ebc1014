"""The first losses of LTX-Video's stages at nano size, recorded to see what a change changes.

A refactor leaves them as they are. After an intended change, `python tests/training/make_golden.py`
records them anew, in a commit of its own that says why.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from nano_stage import fresh, recipe_of, write_latents

from kinema.training.trainer import Trainer

GOLDEN = Path(__file__).with_name("golden_ltx_video_nano.json")
STEPS = 6  # the critic joins at step 4
# Processors round differently. In bfloat16, or with larger steps of the optimizer, that grows
# within six steps beyond what is compared.
EXACT = {"precision": "float32", "optimizer": "adamw", "learning_rate": 5e-6}


def first_losses(stage: str, folder: Path) -> list[dict[str, float]]:
    """{player: loss} of each step, from fixed weights, samples and noise, in float32."""
    model = fresh()
    data = None
    if stage == "generator":
        write_latents(folder, model)
        data = str(folder)
    plan = model.STAGES[stage]
    recipe = replace(recipe_of(stage), **EXACT)
    source, _ = plan.read(model, recipe, data)
    trainer = Trainer(plan.objective(model, recipe), source, recipe, seed=7, device="cpu")
    losses = []
    for trainer.step in range(STEPS):
        logs = trainer.train_step()
        losses.append({p: logs[f"{p}/loss"] for p in trainer.players if f"{p}/loss" in logs})
    return losses


def main() -> None:
    """Writes the golden file."""
    torch.set_num_threads(1)
    golden = {}
    for stage in ("codec", "generator"):
        with tempfile.TemporaryDirectory() as folder:
            golden[stage] = first_losses(stage, Path(folder))
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"wrote {GOLDEN.name}")


if __name__ == "__main__":
    main()
