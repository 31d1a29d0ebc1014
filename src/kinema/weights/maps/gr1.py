"""Key maps of `kinema.networks.gr1` and its frozen image encoder: the authors' published snapshots.

Verified: every tensor of the published configuration, both ways, except the buffers that are
dropped. The text encoder ``model_clip.*`` comes in a package of its own.
"""

from __future__ import annotations

from kinema.weights.keymap import Drop, KeyMap, Permute, Prefix, Rename

FROZEN = (
    Drop("model_clip.*", "CLIP, which comes in a package of its own"),
    Drop("model_mae.*", "the frozen image encoder, which has a map of its own"),
)
# The policy alone. GPT-2's matrices are (in, out).
TRAINED = KeyMap(
    Drop("transformer.h.{i}.attn.bias", "the causal mask"),
    Drop("transformer.h.{i}.attn.masked_bias", "the constant of the mask"),
    Permute("transformer.h.{i}.attn.c_attn.weight", (1, 0)),
    Permute("transformer.h.{i}.attn.c_proj.weight", (1, 0)),
    Permute("transformer.h.{i}.mlp.c_fc.weight", (1, 0)),
    Permute("transformer.h.{i}.mlp.c_proj.weight", (1, 0)),
    Rename("transformer.h.{i}.ln_1.*", "transformer.h.{i}.norm1.*"),
    Rename("transformer.h.{i}.ln_2.*", "transformer.h.{i}.norm2.*"),
    Rename("transformer.h.{i}.attn.c_attn.*", "transformer.h.{i}.attn.qkv.*"),
    Rename("transformer.h.{i}.attn.c_proj.*", "transformer.h.{i}.attn.proj.*"),
    Rename("transformer.h.{i}.mlp.c_fc.*", "transformer.h.{i}.mlp.fc1.*"),
    Rename("transformer.h.{i}.mlp.c_proj.*", "transformer.h.{i}.mlp.fc2.*"),
    Rename("mask_token", "decoder.mask_token"),
    Rename("decoder_pos_embed", "decoder.pos_embed"),
    Rename("decoder_embed.*", "decoder.embed.*"),
    Rename("decoder_blocks.*", "decoder.blocks.*"),
    Rename("decoder_norm.*", "decoder.norm.*"),
    Rename("decoder_pred.*", "decoder.pred.*"),
)
POLICY = KeyMap(*FROZEN, *TRAINED.rules)
# The image encoder, under the names that it has in a snapshot.
IMAGE = KeyMap(Prefix("model_mae."))
