"""Which codec is worth training longer: PSNR on held-out clips after equal minutes, for several
strides and widths.

    python bench/codec_strides.py --minutes 3 16x16x4/32/64 16x16x8/32/64 ...

A candidate is PIXELSxPIXELSxFRAMES/width/latent channels. One line per candidate goes to stdout as
it is done.
"""

from __future__ import annotations

import argparse
import time

import torch

from kinema.data.batches import RandomCrops, WorldClips
from kinema.networks.ltx_vae import LTXVAE
from kinema.noise import Noise
from kinema.systems.ltx_video_presets import shapes_codec
from kinema.training.recipe import Recipe
from kinema.training.trainer import optimizer
from kinema.training.vae_gan import VAEGAN, VAEGANWeights
from kinema.worlds import load


def main() -> None:
    """Trains every candidate for the same time and prints what it reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("candidates", nargs="+")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--world", default="shapes:level=2", help="the clips, as for --data")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    size = {"num_frames": options.frames, "height": 96, "width": 96, "fps": 12.0}
    torch.set_num_threads(options.threads)
    world = load(options.world, seed=0, split="train", **size)
    train = RandomCrops(WorldClips(world), side=48, seed=0)
    whole = size | {"num_frames": 25}
    held_out = WorldClips(load(options.world, seed=1, split="held_out", **whole))(tuple(range(64)))
    for candidate in options.candidates:
        stride, width, channels = candidate.split("/")
        torch.manual_seed(0)
        codec = LTXVAE(
            shapes_codec(
                width=int(width),
                latent_channels=int(channels),
                time_stride=int(stride.split("x")[2]),
            )
        )
        weights = VAEGANWeights(wavelet=0.2, kl=1e-4, gan=0.0, gan_from=10**9, critic_width=16)
        objective = VAEGAN(codec, weights)
        recipe = Recipe(
            optimizer=options.optimizer,
            steps=1,
            batch_size=options.batch,
            learning_rate=options.rate,
            warmup=1,
            decay=0,
            report_every=1,
            save_every=1,
            held_out=1,
        )
        steps = optimizer(objective.trained("codec"), recipe)
        begin, step = time.monotonic(), 0
        while (spent := time.monotonic() - begin) < 60 * options.minutes:
            done = spent / (60 * options.minutes)
            for group in steps.param_groups:
                group["lr"] = options.rate * min(1, (step + 1) / 100, (1 - done) / 0.4)
            samples = tuple(range(step * options.batch, (step + 1) * options.batch))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss, _ = objective.loss("codec", train(samples), step, Noise(0, samples))
            steps.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
            steps.step()
            step += 1
        codec.eval()
        with torch.no_grad():
            logs = objective.eval().held_out(held_out, Noise(7, tuple(range(64))))
        noised = -10 * float(torch.log10(logs["mse/noise=0.1"] / 4))
        parameters = sum(p.numel() for p in codec.parameters()) / 1e6
        print(
            f"{candidate} {options.optimizer} {options.rate:g}: {parameters:.1f} M, "
            f"{step} steps of {options.batch}, "
            f"PSNR {float(logs['psnr']):.2f} dB, with noise 0.1 {noised:.2f} dB",
            flush=True,
        )


if __name__ == "__main__":
    main()
