"""Key maps of `kinema.networks.ltx_transformer`: the authors' files and diffusers' folders.

Our names are the authors'. Verified: every tensor of the 2B and 13B models, both ways, against the
authors' manifests and against diffusers' ``LTXVideoTransformer3DModel`` (0.42.1).
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import Drop, KeyMap, Prefix, Rename

# The transformer alone, as the authors' class names its tensors.
OFFICIAL = KeyMap()

# The transformer's part of a single file that holds the VAE too.
SINGLE_FILE = KeyMap(
    Drop("vae.*", "the VAE's part of the file"),
    Prefix("model.diffusion_model."),
)

DIFFUSERS = KeyMap(
    Rename("proj_in.*", "patchify_proj.*"),
    Rename("time_embed.*", "adaln_single.*"),
    Rename("*.norm_q.weight", "*.q_norm.weight"),
    Rename("*.norm_k.weight", "*.k_norm.weight"),
)

# Linear layers as trainers of adapters after kohya name them: with underscores in place of dots.
LAYERS = (
    "transformer_blocks.{i}.attn{j}.to_q",
    "transformer_blocks.{i}.attn{j}.to_k",
    "transformer_blocks.{i}.attn{j}.to_v",
    "transformer_blocks.{i}.attn{j}.to_out.{k}",
    "transformer_blocks.{i}.ff.net.{j}.proj",
    "transformer_blocks.{i}.ff.net.{j}",
    "adaln_single.linear",
    "adaln_single.emb.timestep_embedder.linear_{i}",
    "caption_projection.linear_{i}",
)
KOHYA = KeyMap(*(Rename(f"{name.replace('.', '_')}.weight", f"{name}.weight") for name in LAYERS))


def find(names: Collection[str]) -> KeyMap:
    """The map for a checkpoint with these tensors, told by names that only one layout has."""
    if any(name.startswith("model.diffusion_model.") for name in names):
        return SINGLE_FILE
    return DIFFUSERS if "proj_in.weight" in names else OFFICIAL
