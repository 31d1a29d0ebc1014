"""Vision transformers that see clips for scores: CLIP, DINOv2, VideoMAE V2; see `extractors.py`.

Letters: B frames or clips, T frames, H height, W width, D features.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kinema.errors import InputError
from kinema.metrics.extractors import file_for
from kinema.metrics.measures import Device, Files, Measure, centered, framewise
from kinema.metrics.resizing import bilinear
from kinema.metrics.similarity import clipsim
from kinema.networks import clip, dinov2, videomae
from kinema.weights.digest import digest
from kinema.weights.files import load_tensors, open_checkpoint
from kinema.weights.maps import clip as clip_map
from kinema.weights.maps import dinov2 as dinov2_map
from kinema.weights.maps import videomae as videomae_map

CD_FVD_SIZE, CD_FVD_FRAMES, SOMETHING_CLASSES = 224, 16, 174
# STREAM's, for square frames; of others it keeps all, which DINOv2's patches do not divide.
STREAM_PREPROCESSING = Preprocessing(
    shorter_side=224, size=224, interpolation="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
)
DINOV2 = (dinov2.vit_s_14, dinov2.vit_b_14, dinov2.vit_l_14, dinov2.vit_g_14)


def clip_frames(files: Files, device: Device) -> Measure:
    """Features of frames by CLIP's ViT-B/32."""
    network = _clip(file_for("clip", files, "CLIP's consistency"), device)
    run = framewise(lambda x: network.features(clip.PREPROCESSING(x)), device)
    return Measure("CLIP ViT-B/32", digest(network), _said(clip.PREPROCESSING), 1, run)


def clip_similarity(files: Files, device: Device) -> Measure:
    """CLIPSIM of a clip and its caption, by CLIP's ViT-B/32.

    Raises:
        InputError: the role names no folder with a tokenizer, or transformers is not installed.
    """
    folder = file_for("clip", files, "clipsim")
    network = _clip(folder, device)
    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except ImportError as error:
        raise InputError("clipsim needs transformers; pip install 'kinema[hub]'") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no tokenizer; name a folder of transformers") from error
    see = framewise(lambda x: network.features(clip.PREPROCESSING(x)), device)
    longest = network.config.text.max_tokens

    @torch.no_grad()
    def run(frames: Tensor, caption: str) -> Tensor:
        ids = tokenizer(caption, truncation=True, max_length=longest)["input_ids"]
        text = network.text_features(torch.tensor([ids], device=device))[0].cpu()
        return clipsim(see(frames), text)

    said = f"{_said(clip.PREPROCESSING)}; captions of at most {longest} pieces"
    return Measure("CLIPSIM, CLIP ViT-B/32", digest(network), said, 1, run, reads_caption=True)


def _clip(path: Path, device: Device) -> clip.CLIP:
    opened = open_checkpoint(path)
    network = clip.CLIP(clip.vit_b_32(), device="meta")
    load_tensors(network, opened.tensors, clip_map.find(opened.tensors), where=str(path))
    return network.eval().to(device)


def dinov2_frames(files: Files, device: Device) -> Measure:
    """Class tokens of frames by the DINOv2 whose file was named, any of its four sizes.

    Raises:
        InputError: the file holds no such network.
    """
    path = file_for("dinov2", files, "a score by DINOv2")
    opened = open_checkpoint(path)
    keymap = dinov2_map.find(opened.tensors)
    norm = "layernorm.weight" if keymap is dinov2_map.TRANSFORMERS else "norm.weight"
    sizes = {size().width: size for size in DINOV2}
    width = opened.tensors[norm].shape[0] if norm in opened.tensors else 0
    if width not in sizes:
        raise InputError(f"{path} holds no DINOv2 without registers")
    config = sizes[width]()
    if keymap is dinov2_map.TRANSFORMERS:
        config = replace(config, offset=0.0)  # as that library places the positions
    network = dinov2.DINOv2(config, device="meta")
    load_tensors(network, opened.tensors, keymap, where=str(path))
    network.eval().to(device)
    run = framewise(lambda x: network.features(STREAM_PREPROCESSING(x)), device)
    name = sizes[width].__name__.replace("vit_", "ViT-").replace("_", "/")
    return Measure(f"DINOv2 {name}", digest(network), _said(STREAM_PREPROCESSING), 1, run)


def videomae_features(files: Files, device: Device) -> Measure:
    """Features of clips by VideoMAE V2's ViT-g of Something-Something V2, as CD-FVD takes them.

    Frames are stretched to a square and only divided by 255: the authors of CD-FVD (arXiv
    2404.12391) do not normalize them.
    """
    path = file_for("videomae", files, "cd-fvd")
    opened = open_checkpoint(path)
    network = videomae.VideoMAE(videomae.vit_g_14(SOMETHING_CLASSES), device="meta")
    load_tensors(network, opened.tensors, videomae_map.find(opened.tensors), where=str(path))
    network.eval().to(device)

    @torch.no_grad()
    def run(frames: Tensor) -> Tensor:
        pixels = (centered(frames[:CD_FVD_FRAMES].to(device)) + 1) / 2
        clip = bilinear(pixels, CD_FVD_SIZE, CD_FVD_SIZE).transpose(0, 1)[None]
        return network.forward_features(clip)[0]

    said = f"first {CD_FVD_FRAMES} frames, bilinear, {CD_FVD_SIZE}x{CD_FVD_SIZE}, in [0, 1]"
    return Measure("VideoMAE V2 ViT-g (SSv2)", digest(network), said, CD_FVD_FRAMES, run)


def _said(preparation: Preprocessing) -> str:
    return (
        f"{preparation.interpolation}, shorter side {preparation.shorter_side}, middle"
        f" {preparation.size}x{preparation.size}, mean {preparation.mean}, std {preparation.std}"
    )
