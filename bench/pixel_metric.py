"""Gives the latents of a model's codec the metric of pixels, and decodes as before.

    python bench/pixel_metric.py runs/refine/model.safetensors runs/metric/model.safetensors

Latents of a VAE are about as large in every channel, whether the eye sees the channel or not, so
that noise hides color, place and outline of an object at the same level. Here a linear map of
the channels is put behind the encoder and its inverse before the decoder. It is the root of the
mean of J^T J over the tokens of clips of the world, where J is the Jacobian of the decoder: a step
in the new latents changes pixels by about its length, in whatever direction. What is large in the
picture is then large in the latents, and is settled first.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import kinema
from kinema.data.batches import WorldClips
from kinema.data.clips import split_of
from kinema.networks.ltx_vae import LTXVAE
from kinema.noise import Noise


def main() -> None:
    """Measures the metric, changes the codec, and shows that it decodes the same."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="of ltx_video, with a trained codec")
    parser.add_argument("output", type=Path, help="where to write it; a file there is replaced")
    parser.add_argument("--world", default="shapes:level=2", help="whose clips")
    parser.add_argument("--count", type=int, default=32, help="of clips")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = kinema.load(f"ltx_video@{options.model}", dtype=torch.float32)
    world = WorldClips(split_of(options.world, "train", model.config.sampling))
    metric, covariance = torch.zeros(2, model.codec.channels, model.codec.channels)
    for index in range(options.count):
        own, spread = one_clip(model, world((index,))["clips"], index)
        metric += own / options.count
        covariance += spread / options.count
    root = square_root(metric)
    root *= (len(root) / (root @ covariance @ root).trace()).sqrt()
    shares(covariance, "before")
    shares(root @ covariance @ root, "after")
    clip = world((options.count,))["clips"]
    before = again(model, clip)
    change_basis(model.codec, root)
    gap = (again(model, clip) - before).abs().max()
    print(f"a clip decoded before and after differs by {float(gap):.1e} at most, of 2")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(options.output, dtype=torch.float32, overwrite=True)


def one_clip(model: Any, clip: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """J^T J and the covariance of one clip (1, 3, T, H, W), (C, C) each, means over its tokens.

    For white r, E[J^T r r^T J] = J^T J.
    """
    codec, time = model.codec, model.config.sampling.decode_time
    with torch.no_grad():
        z = codec.encode(clip)
    z.requires_grad_()
    pixels = codec.decode(z, time=torch.tensor([time]))
    white = Noise(0, (index,)).normal(pixels.shape, "white")
    (gradient,) = torch.autograd.grad(pixels, z, white)
    g, tokens = gradient[0].flatten(1), z.detach()[0].flatten(1)
    return g @ g.mT / g.shape[1], torch.cov(tokens)


def square_root(metric: Tensor) -> Tensor:
    """The symmetric root of a positive matrix (C, C)."""
    values, vectors = torch.linalg.eigh(metric.double())
    return (vectors * values.sqrt() @ vectors.mT).float()


@torch.no_grad()
def change_basis(codec: LTXVAE, root: Tensor) -> None:
    """Latents z become root z; what is decoded stays, and so does what zeros at borders mean."""
    into = root / codec.std_of_means  # from latents as the encoder gives them
    out = torch.linalg.inv(into.double()).float()
    last, first = codec.encoder.conv_out.conv, codec.decoder.conv_in.conv
    last.weight[:-1] = torch.einsum("dc,citxy->ditxy", into, last.weight[:-1])
    last.bias[:-1] = into @ last.bias[:-1]
    first.weight.copy_(torch.einsum("octxy,cd->odtxy", first.weight, out))
    codec.mean_of_means.copy_(into @ codec.mean_of_means)
    codec.std_of_means.fill_(1)


@torch.no_grad()
def again(model: Any, clip: Tensor) -> Tensor:
    """A clip behind the codec, without noise on its latents."""
    codec = model.codec
    return codec.decode(codec.encode(clip), time=torch.zeros(1))


def shares(covariance: Tensor, when: str) -> None:
    """Prints how much of the variance the largest directions hold."""
    values = torch.linalg.eigvalsh(covariance).flip(0)
    held = (values / values.sum()).cumsum(0)
    said = ", ".join(f"{count}: {100 * float(held[count - 1]):.0f} %" for count in (1, 4, 12, 32))
    print(f"variance {when} in the largest of {len(values)} directions: {said}")


if __name__ == "__main__":
    main()
