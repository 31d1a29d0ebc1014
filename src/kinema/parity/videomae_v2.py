"""Adapters for the recorded cases of VideoMAE V2 (github.com/OpenGVLab/VideoMAEv2)."""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.networks import videomae, videomae_pretraining
from kinema.networks.official import check_arguments
from kinema.networks.videomae import TUBELET, VideoMAE, VideoMAEEncoder
from kinema.networks.videomae_pretraining import (
    MaskedAutoencoder,
    VideoMAEDecoder,
    chosen,
    color_last,
    targets,
    tubelets,
)
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.training.masked_autoencoding import masked_error, running_cells, tubes
from kinema.weights.maps.videomae import OFFICIAL, PRETRAINING

Results = dict[str, Tensor]
COLORS = (IMAGENET_MEAN, IMAGENET_STD)
PRETRAINING_STAGES = {
    "patch_embed": "encoder.patch_embed",
    "block{i}": "encoder.blocks.{i}",
    "encoder": "decoder.encoder_norm",
    "encoder_to_decoder": "decoder.embed",
}


def classifier(case: Case) -> Results:
    """Clips to features and logits."""
    case.check_inputs("video", optional=())
    network = VideoMAE(videomae.from_official(case.config))
    load_weights(network, case, OFFICIAL, {})
    places = stage_places(case, {"patch_embed": "patch_embed", "block{i}": "blocks.{i}"})
    with recorded(network, places) as results:
        features = network.forward_features(case.inputs["video"])
    logits = network.forward_head(features)
    return {**results, "out.features": features, "out.logits": logits}


def pretrain(case: Case) -> Results:
    """Clips of which most is hidden to the pixels of what is decoded, in both forms."""
    case.check_inputs("video", "mask", "decode_mask", optional=())
    sizes, decoder_sizes = videomae_pretraining.from_official(case.config)
    network = MaskedAutoencoder(VideoMAEEncoder(sizes), VideoMAEDecoder(decoder_sizes))
    load_weights(network, case, PRETRAINING, {})
    clips, hidden = case.inputs["video"], case.inputs["mask"].bool()
    with recorded(network, stage_places(case, PRETRAINING_STAGES)) as results:
        dual = network(clips, hidden, ~case.inputs["decode_mask"].bool())
    return {**results, "out.dual": dual, "out.all_masked": network(clips, hidden, hidden)}


def loss(case: Case) -> Results:
    """Normalized clips and a prediction to targets and losses, these of two kinds of tubelets."""
    case.check_inputs("video", "mask", "decode_mask", "prediction", optional=())
    fixed = {"tubelet": (TUBELET,)}
    check_arguments("the loss", case.config, needed=("patch_size",), optional=(), fixed=fixed)
    clips, patch_size = case.inputs["video"], case.config["patch_size"]
    mean, std = (torch.tensor(c, device="cpu")[:, None, None, None] for c in COLORS)
    pixels = clips * std + mean
    hidden, decoded = case.inputs["mask"].bool(), ~case.inputs["decode_mask"].bool()
    counted = hidden[decoded].unflatten(0, (len(hidden), -1))

    def error(wanted: Tensor) -> Tensor:
        return masked_error(case.inputs["prediction"], chosen(wanted, decoded), counted)

    normal = color_last(targets(pixels, patch_size).x)
    plain = color_last(tubelets(pixels, patch_size))
    return {
        "out.targets_normalised": normal,
        "out.loss_normalised": error(normal),
        "out.targets_plain_mean_per_token": plain.mean(-1),
        "out.loss_plain": error(plain),
    }


def masks(case: Case) -> Results:
    """Both masks. What their generator drew is taken from the record, all else follows from it."""
    case.check_inputs(optional=())
    case.check_config(
        *("input_size", "mask_ratio", "numpy_seed", "tube_size", "tube_ratio"), optional=()
    )
    time, rows, columns = case.config["input_size"]
    first = torch.arange(1, 5, device="cpu")  # theirs have moved on by one when they are asked
    cells = running_cells(first, case.config["mask_ratio"], (time, rows, columns))
    cells = cells.unflatten(1, (time, rows, columns)).to(torch.uint8)
    drawn = case.expected["out.running_cell_draws"]
    same = (drawn[:, None, 0] == cells[None, :, 0]).flatten(2).all(2).int()
    steps = case.config["tube_size"][0]
    shown = case.expected["out.tube"]
    hidden = tubes(1 - shown[:1].float(), case.config["tube_ratio"], steps)
    return {
        "out.running_cell_draws": cells[same.argmax(1)],
        "out.running_cell_all": cells,
        "out.tube": hidden.unflatten(1, (steps, -1))[0].to(torch.uint8),
    }


ADAPTERS: dict[str, Adapter] = {
    "classifier": classifier,
    "pretrain": pretrain,
    "loss": loss,
    "masks": masks,
}
