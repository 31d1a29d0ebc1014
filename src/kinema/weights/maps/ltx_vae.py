"""Key maps of `kinema.networks.ltx_vae`: the authors' files and diffusers' folders.

Our names are the authors', except for the two latent statistics. Verified: every tensor of the
published versions, both ways, against the authors' manifests and against diffusers'
``AutoencoderKLLTXVideo`` (0.42.1).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kinema.weights.keymap import Drop, KeyMap, Prefix, Rename, Rule, Shape

STATISTICS = (
    Rename("per_channel_statistics.mean-of-means", "mean_of_means"),
    Rename("per_channel_statistics.std-of-means", "std_of_means"),
)
UNUSED = "a statistic that neither encoding nor decoding uses"

# The VAE alone, as the authors' class names its tensors.
OFFICIAL = KeyMap(
    Drop("per_channel_statistics.channel", UNUSED),
    Drop("per_channel_statistics.mean-of-stds*", UNUSED),
    *STATISTICS,
)

# The VAE's part of a single file that holds the transformer too.
SINGLE_FILE = KeyMap(
    Drop("model.diffusion_model.*", "the transformer's part of the file"),
    Prefix("vae."),
    *OFFICIAL.rules,
)


def statistics(latent_channels: int) -> dict[str, Shape]:
    """The authors' tensors of the latent statistics, which the manifests name only in a note."""
    return {rule.theirs: (latent_channels,) for rule in STATISTICS}


# What stands between the residual blocks of two levels, by diffusers' names; of the encoder in the
# order of use, of the decoder too. diffusers counts levels where the authors count blocks.
Steps = tuple[str, ...]
DOWN, UP, WIDER, NARROWER = "downsamplers.0", "upsamplers.0", "conv_out", "conv_in"
# The shortcut of a block that changes the number of channels.
_SHORTCUT: tuple[Rule, ...] = (
    Rename("*.conv_shortcut.conv.*", "*.conv_shortcut.*"),
    Rename("*.norm3.*", "*.norm3.norm.*"),
)
_WITHIN = (
    Rename("*.resnets.{i}.*", "*.res_blocks.{i}.*"),
    Rename("latents_mean", "mean_of_means"),
    Rename("latents_std", "std_of_means"),
)
_TIMED = (
    Rename("decoder.time_embedder.*", "decoder.last_time_embedder.*"),
    Rename("decoder.scale_shift_table", "decoder.last_scale_shift_table"),
)


def diffusers(encoder: Sequence[Steps], decoder: Sequence[Steps]) -> KeyMap:
    """The map for diffusers' class with these levels.

    Args:
        encoder: of each level but the one in the middle, what follows its residual blocks.
        decoder: of each such level, what goes before them.
    """
    return KeyMap(*_encoder(encoder), *_TIMED, *_decoder(decoder), *_SHORTCUT, *_WITHIN)


# The order of rules matters: a number is taken only after the block that had it was moved on.
def _encoder(levels: Sequence[Steps]) -> list[Rule]:
    number = sum(1 + len(steps) for steps in levels)
    rules: list[Rule] = [Rename("encoder.mid_block.*", f"encoder.down_blocks.{number}.*")]
    for level in reversed(range(len(levels))):
        number -= 1 + len(levels[level])
        theirs = f"encoder.down_blocks.{level}"
        rules += [
            Rename(f"{theirs}.{step}.*", f"encoder.down_blocks.{number + place}.*")
            for place, step in enumerate(levels[level], start=1)
        ]
        if number != level:
            rules.append(Rename(f"{theirs}.*", f"encoder.down_blocks.{number}.*"))
    return rules


def _decoder(levels: Sequence[Steps]) -> list[Rule]:
    number = 1 + sum(1 + len(steps) for steps in levels)
    rules: list[Rule] = []
    for level in reversed(range(len(levels))):
        number -= 1 + len(levels[level])
        theirs = f"decoder.up_blocks.{level}"
        steps = levels[level]
        rules += [
            Rename(f"{theirs}.{step}.*", f"decoder.up_blocks.{number + place}.*")
            for place, step in enumerate(steps)
        ]
        rules.append(Rename(f"{theirs}.*", f"decoder.up_blocks.{number + len(steps)}.*"))
    return [*rules, Rename("decoder.mid_block.*", "decoder.up_blocks.0.*")]


def find(names: Collection[str]) -> KeyMap:
    """The map for a checkpoint with these tensors, told by names that only one layout has."""
    if any(name.startswith("vae.") for name in names):
        return SINGLE_FILE
    if "latents_mean" not in names:
        return KeyMap() if "mean_of_means" in names else OFFICIAL
    return diffusers(
        _levels(names, "encoder.down_blocks", (DOWN, WIDER)),
        _levels(names, "decoder.up_blocks", (NARROWER, UP)),
    )


def _levels(names: Collection[str], place: str, kinds: Steps) -> list[Steps]:
    """The levels that diffusers' names tell of."""
    below = [name.removeprefix(f"{place}.") for name in names if name.startswith(f"{place}.")]
    count = len({name.partition(".")[0] for name in below})
    return [
        tuple(kind for kind in kinds if any(n.startswith(f"{i}.{kind}.") for n in below))
        for i in range(count)
    ]
