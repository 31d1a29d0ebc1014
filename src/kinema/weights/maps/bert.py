"""Key maps of BERT in the files of transformers, to the names of `kinema.networks.distilbert`.

Verified: every tensor of ``bert-base-uncased``, and equal states of ``BertModel`` and
``BertForMaskedLM`` at a small size (5.23.0, as it saves files). Old files call the weight and the
bias of a norm gamma and beta.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import Drop, KeyMap, Rename

QUERY = "encoder.layer.0.attention.self.query.weight"
NORM, OLD_NORM = ("weight", "bias"), ("gamma", "beta")


def bert(theirs: str, norm: tuple[str, str]) -> KeyMap:
    """The map for files where names begin with `theirs` and norms have parameters named so."""
    layer, own = f"{theirs}encoder.layer.{{i}}", "transformer.layer.{i}"
    norms = {
        f"{theirs}embeddings.LayerNorm": "embeddings.LayerNorm",
        f"{layer}.attention.output.LayerNorm": f"{own}.sa_layer_norm",
        f"{layer}.output.LayerNorm": f"{own}.output_layer_norm",
    }
    return KeyMap(
        Drop("cls.*", "the heads that guess words and the next sentence"),
        Drop(f"{theirs}pooler.*", "what reads the first state"),
        Drop(f"{theirs}embeddings.position_ids", "a count, no weights"),
        *(
            Rename(f"{name}.{their}", f"{ours}.{our}")
            for name, ours in norms.items()
            for their, our in zip(norm, NORM)
        ),
        Rename(f"{theirs}embeddings.*_embeddings.weight", "embeddings.*_embeddings.weight"),
        *(
            Rename(f"{layer}.attention.self.{name}.*", f"{own}.attention.{name[0]}_lin.*")
            for name in ("query", "key", "value")
        ),
        Rename(f"{layer}.attention.output.dense.*", f"{own}.attention.out_lin.*"),
        Rename(f"{layer}.intermediate.dense.*", f"{own}.ffn.lin1.*"),
        Rename(f"{layer}.output.dense.*", f"{own}.ffn.lin2.*"),
    )


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    theirs = "bert." if f"bert.{QUERY}" in names else ""
    return bert(theirs, OLD_NORM if f"{theirs}embeddings.LayerNorm.gamma" in names else NORM)
