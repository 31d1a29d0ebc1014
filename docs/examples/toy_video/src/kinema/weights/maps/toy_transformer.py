"""Key map of `kinema.networks.toy_transformer`: the names of the authors' ``DiT``."""

from __future__ import annotations

from kinema.weights.keymap import KeyMap, Rename, Split

OFFICIAL = KeyMap(
    Rename("x_embedder.*", "proj_in.*"),
    Rename("pos_embed", "positions"),
    Rename("t_embedder.mlp.0.*", "time.timestep_embedder.linear_1.*"),
    Rename("t_embedder.mlp.2.*", "time.timestep_embedder.linear_2.*"),
    Rename("y_embedder.*", "text.*"),
    Split(
        "blocks.{i}.attn.qkv.*",
        ("blocks.{i}.to_q.*", "blocks.{i}.to_k.*", "blocks.{i}.to_v.*"),
        dim=0,
    ),
    Rename("blocks.{i}.attn.proj.*", "blocks.{i}.to_out.*"),
    Rename("blocks.{i}.mlp.fc1.*", "blocks.{i}.fc1.*"),
    Rename("blocks.{i}.mlp.fc2.*", "blocks.{i}.fc2.*"),
    Rename("final_layer.linear.*", "proj_out.*"),
)
