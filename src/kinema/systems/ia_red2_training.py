"""The training plan of IA-RED^2: a DeiT, then its interpreters, and the DeiT with them.

Paper, code and license: see `ia_red2.py`. No recipe of the policy is published; these are ours.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.data.batches import Source
from kinema.data.clips import to_clip
from kinema.media import write_contact_sheet
from kinema.systems.ia_red2_policy import PolicyObjective, PolicyRecipe
from kinema.systems.recognizer_frames import COLORS, DEIT, DRAWN, data, frame_stage
from kinema.systems.recognizer_training import FPS, WORLDS, ClassifierStage, prepare
from kinema.training.classification import Classification, ClassifierRecipe
from kinema.training.objective import Batch

if TYPE_CHECKING:
    from kinema.systems.ia_red2 import IARED2

ON_SHEET = 12

HOSTS = {"full": DEIT, "tiny": DRAWN, "nano": DRAWN.nano(batch_size=4)}
FULL = PolicyRecipe(
    steps=100_000,
    batch_size=512,
    learning_rate=1e-4,
    decay=0.1,
    ema=0.0,
    penalties=(3.0, 5.0, 8.0),
    answer="right",
    host_rate=0.1,
    flip=DEIT.flip,
    crop_area=DEIT.crop_area,
)
# Larger penalties for small networks: what is dropped should not cost 0.7 points (the bar, beside
# a held-out loss of 0.7 log 10 = 1.61 or less, and 1.2 times the speed).
TINY = replace(
    FULL,
    steps=1200,
    batch_size=32,
    learning_rate=3e-3,
    warmup=50,
    penalties=(6.0, 10.0, 16.0),
    answer="probability",
    report_every=150,
    save_every=150,
)
POLICIES = {"full": FULL, "tiny": TINY, "nano": TINY.nano(batch_size=4)}


def whole_objective(model: IARED2, recipe: ClassifierRecipe) -> Classification:
    """Cross-entropy of the transformer with all its patches."""
    networks = {"network": model.network}
    return Classification(networks, logits=model.whole_logits, recipe=recipe)


def policy_objective(model: IARED2, recipe: PolicyRecipe) -> PolicyObjective:
    """Reward of the interpreters, cross-entropy of the transformer with what they leave."""
    return PolicyObjective(
        model.network, model.policy, see=model.seen, logits=model.whole_logits, recipe=recipe
    )


def policy_data(model: IARED2, recipe: PolicyRecipe, named: str) -> tuple[Source, Source]:
    """As for the classifier, but nothing is mixed: a reward is for one class."""
    return data(model, replace(DRAWN, flip=recipe.flip, crop_area=recipe.crop_area), named)


def sheet(model: IARED2, held_out: Batch, path: Path) -> None:
    """The first held-out clips under their heat maps, with the share of patches that is kept."""
    shown, said = [], []
    for x in held_out["clips"][:ON_SHEET]:
        clip, kept = model.explained(to_clip(x, FPS))
        shown.append(clip)
        said.append(", ".join(f"{share:.0%}" for share in kept.mean(1).tolist()))
    write_contact_sheet(path, shown, said, columns=2, frames_per_clip=5, overwrite=True)


STAGES = {
    "classifier": replace(frame_stage(HOSTS, trains=("network",)), objective=whole_objective),
    "policy": ClassifierStage(
        trains=("network", "policy"),
        recipes=POLICIES,
        objective=policy_objective,
        data=policy_data,
        prepare=prepare,
        sheet=sheet,
        worlds=WORLDS,
        drawn=COLORS,
        starts_from=("classifier",),
    ),
}
