"""ZeroI2V (arXiv 2310.01324): an image ViT made to recognize what happens in clips at no cost.

Authors' code: github.com/MCG-NJU/ZeroI2V (Apache-2.0). Heads of CLIP's image tower read other
frames; linear adapters are trained beside its frozen weights, and merged into them in the end. What
is verified is in the card.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from kinema.card import Card
from kinema.errors import InputError
from kinema.networks.zeroi2v import ZeroI2V
from kinema.systems.model import Part
from kinema.systems.recognizer import Recognizer
from kinema.systems.recognizer_files import to_network
from kinema.systems.recognizer_from_clip import FromCLIP
from kinema.systems.recognizer_training import classifier_stage
from kinema.systems.system import Job
from kinema.systems.zeroi2v_presets import (
    IMAGES,
    MERGED,
    PRESETS,
    RECIPES,
    VERSIONS,
    ZeroI2VModelConfig,
)
from kinema.systems.zeroi2v_training import image_stage
from kinema.weights.maps.zeroi2v import find

CARD = Card(
    name="zeroi2v",
    number=32,
    title="ZeroI2V: Zero-Cost Adaptation of Pre-trained Transformers from Image to Video",
    arxiv="2310.01324",
    year=2023,
    kind="recognizer",
    job="a clip gets a class, at the cost of an image model",
    code="github.com/MCG-NJU/ZeroI2V",
    code_license="Apache-2.0",
    weights_license="Apache-2.0",
    claim="heads that read other frames let a frozen image ViT see motion, at no cost",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases: attention, blocks, features, merged weights and their features, the "
        "frames that each channel reads, two ablations",
        "names and counts of parameters of four published sizes, with adapters and merged",
        "merged, it takes the operations of CLIP's image tower, to the last one",
        "published recipes, and which frames a test sees, by the authors' configurations",
    ),
    inferred=("epochs in steps, from sizes of the data sets that are recalled",),
    deviations=(
        "no RandAugment and random erasing; clips of Something-Something are not mirrored, since "
        "classes are not swapped",
        "frames that shrink are averaged, theirs are sampled; under dense sampling a short clip "
        "holds its last frame, where theirs begins again",
        "the learning rate falls in a line, not as a cosine; temporal positions decay too",
        "merged models keep the heads that look two frames back, which the authors' class drops",
        "tiny learns places in stills before, since there is no CLIP of its size",
    ),
)


@dataclass(frozen=True, eq=False)
class Merged:
    """A model whose adapters are part of its weights; as a file it is one like any other."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".safetensors",)
    model: ZeroI2VRecognizer

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the model's file."""
        self.model.save_pretrained(path, overwrite=overwrite)


class ZeroI2VRecognizer(Recognizer):
    """The system: `classify` names what a clip shows, `merge` makes adapters part of the weights.

    The stage `classifier` trains the adapters. Where there is a CLIP of the size, it starts there:
    ``kinema train zeroi2v:full@CLIP --stage classifier --data FOLDER``. Elsewhere the stage `image`
    comes before it, whose model is handed on by ``--start-from FILE --warm``.
    """

    CARD = CARD
    CONFIG = ZeroI2VModelConfig
    PRESETS = PRESETS
    STAGES: ClassVar = {
        "image": image_stage(IMAGES),
        "classifier": replace(
            classifier_stage(RECIPES, trains=("network",)), starts_from=("image",)
        ),
    }
    JOBS: ClassVar = {**Recognizer.JOBS, "merge": Job(takes={}, gives={"model": Merged})}
    PUBLISHED = FromCLIP(
        name=CARD.name,
        parts={"network": ZeroI2V},
        versions={**VERSIONS, **MERGED},
        find=to_network(find),
        fresh=(),
    ).published()
    config: ZeroI2VModelConfig
    network = Part(ZeroI2V)

    def merged(self) -> Self:
        """A copy whose adapters are part of its weights, as large and as fast as CLIP's tower.

        Raises:
            InputError: there are no adapters, or they cannot be merged.
        """
        if self.config.network.adapters is None:
            raise InputError("this model has no adapters; they are merged already")
        other = copy.deepcopy(self)
        other.network.merge_adapters()
        other.config = replace(self.config, network=other.network.config)
        return other

    def run_merge(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Merged]:
        """Merges the adapters."""
        return {"model": Merged(self.merged())}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A clip; nothing is needed to merge."""
        return {} if job == "merge" else super().example(job, folder)


SYSTEM = ZeroI2VRecognizer
