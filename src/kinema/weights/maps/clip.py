"""Key maps of `kinema.networks.clip`: the authors' state dicts and transformers' files.

Verified: every tensor, both ways, of the authors' class at ViT-B/32 and of transformers'
``CLIPModel`` (5.23.0) at all sizes. The authors' own files are TorchScript archives, which are not
read: save the ``state_dict`` of the loaded model. OpenCLIP's files have the authors' names.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import Drop, KeyMap, Merge, Permute, Prefix, Rename, Rule

OFFICIAL_BLOCK = {
    "ln_1.*": "norm1.*",
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj.*": "attn.proj.*",
    "ln_2.*": "norm2.*",
    "mlp.c_fc.*": "mlp.fc1.*",
    "mlp.c_proj.*": "mlp.fc2.*",
}
TRANSFORMERS_BLOCK = {
    "layer_norm1.*": "norm1.*",
    "self_attn.out_proj.*": "attn.proj.*",
    "layer_norm2.*": "norm2.*",
    "mlp.*": "mlp.*",
}


def block_rules(theirs: str, ours: str, names: dict[str, str]) -> tuple[Rule, ...]:
    """Renames within the blocks that have these prefixes."""
    return tuple(Rename(f"{theirs}.{{i}}.{a}", f"{ours}.{{i}}.{b}") for a, b in names.items())


def transformers_tower(theirs: str, ours: str) -> tuple[Rule, ...]:
    """The blocks of a tower in transformers' files, whose queries, keys and values lie apart."""
    layers, blocks = f"{theirs}.encoder.layers", f"{ours}.blocks"
    qkv = tuple(f"{layers}.{{i}}.self_attn.{name}_proj.*" for name in "qkv")
    return (
        Drop(f"{theirs}.embeddings.position_ids", "a count, no weights"),
        Merge(qkv, f"{blocks}.{{i}}.attn.qkv.*", dim=0),
        *block_rules(layers, blocks, TRANSFORMERS_BLOCK),
    )


OFFICIAL = KeyMap(
    Drop("input_resolution", "a size, no weights"),
    Drop("context_length", "a size, no weights"),
    Drop("vocab_size", "a size, no weights"),
    Rename("visual.class_embedding", "image.class_embedding"),
    Rename("visual.positional_embedding", "image.pos_embed"),
    Rename("visual.conv1.*", "image.patch_embed.proj.*"),
    Rename("visual.ln_pre.*", "image.norm_pre.*"),
    *block_rules("visual.transformer.resblocks", "image.blocks", OFFICIAL_BLOCK),
    Rename("visual.ln_post.*", "image.norm.*"),
    Permute("visual.proj", (1, 0)),
    Rename("visual.proj", "image.proj.weight"),
    Rename("token_embedding.*", "text.token_embedding.*"),
    Rename("positional_embedding", "text.pos_embed"),
    *block_rules("transformer.resblocks", "text.blocks", OFFICIAL_BLOCK),
    Rename("ln_final.*", "text.norm.*"),
    Permute("text_projection", (1, 0)),
    Rename("text_projection", "text.proj.weight"),
)

TRANSFORMERS = KeyMap(
    Rename("vision_model.embeddings.class_embedding", "image.class_embedding"),
    Rename("vision_model.embeddings.position_embedding.weight", "image.pos_embed"),
    Rename("vision_model.embeddings.patch_embedding.*", "image.patch_embed.proj.*"),
    Rename("vision_model.pre_layrnorm.*", "image.norm_pre.*"),
    *transformers_tower("vision_model", "image"),
    Rename("vision_model.post_layernorm.*", "image.norm.*"),
    Rename("visual_projection.*", "image.proj.*"),
    Rename("text_model.embeddings.token_embedding.*", "text.token_embedding.*"),
    Rename("text_model.embeddings.position_embedding.weight", "text.pos_embed"),
    *transformers_tower("text_model", "text"),
    Rename("text_model.final_layer_norm.*", "text.norm.*"),
    Rename("text_projection.*", "text.proj.*"),
)


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    return TRANSFORMERS if "visual_projection.weight" in names else OFFICIAL


def image_tower(names: Collection[str]) -> KeyMap:
    """The map for a file with these names to the image tower alone; transformers' may hold no more.

    Raises `InputError` when it is used where the file holds no CLIP model.
    """
    transformers = any(name.startswith("vision_model.") for name in names)
    return KeyMap(
        *(TRANSFORMERS if transformers else OFFICIAL).rules,
        Drop("text.*", "the other tower"),
        Drop("logit_scale", "of both towers"),
        Prefix("image."),
    )
