"""LTX-Video's networks beside those of diffusers, and its codec in parts beside the whole.

    python bench/ltx_video.py transformer --layers 4 --tokens 1920 --dtype bfloat16 --threads 2
    python bench/ltx_video.py codec --clip 17x256x384 --threads 2
    python bench/ltx_video.py parts --clip 97x128x192 --threads 2

Both sides are in one process, hold the same tensors and take turns. Figures are medians: seconds of
the clock and of the processors, and the memory that a call took at most beside what was there
before. The transformer's products (its linear layers and its attention, with the inputs that they
have in it) are also timed alone; to be near them is as good as to be faster than diffusers. Parts
are of eight frames, and save memory where a clip has many more. The exit status says whether the
bars are kept. Needs Linux.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from kinema.condition import Conditions, Grid, Tokens
from kinema.files import write_text
from kinema.networks import ltx_diffusers, ltx_vae_config
from kinema.networks.ltx_transformer import LTXTransformer, LTXTransformerConfig
from kinema.networks.ltx_vae import LTXVAE
from kinema.nn.attention import attention
from kinema.nn.sites import Site, hooked
from kinema.nn.tiles import Tiling
from kinema.noise import Noise
from kinema.planning.meters import resident_peak
from kinema.weights.maps import ltx_transformer as transformer_map

Calls = dict[str, Callable[[], object]]
Figures = dict[str, dict[str, float]]
Bars = dict[str, tuple[float, float]]  # {what: (found, what it may be at most)}
NOISE = Noise(0, (0,))
CODECS = {"0.9.0": ltx_vae_config.v0_9_0, "0.9.5": ltx_vae_config.v0_9_5}
OURS, THEIRS, PRODUCTS = "ours", f"diffusers {diffusers.__version__}", "products alone"
PARTS = "ours in parts"
APART = {"float32": 1e-4, "bfloat16": 1e-2}  # of the norm of the result, at most
TRANSFORMER_BARS = {"float32": 1.0, "bfloat16": 0.85}  # of their time, at most
PRODUCTS_BAR = 1.2  # or times the products alone
CODEC_BAR = 0.7
PARTS_BARS = {"GB": 0.6, "s": 1.1}  # of those of the whole, at most


def main() -> int:
    """Prints a table; 0 if the bars are kept."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    jobs = parser.add_subparsers(dest="job", required=True)
    job = jobs.add_parser("transformer", help="one prediction at the width of the 2B model")
    job.add_argument("--layers", type=int, default=4)
    job.add_argument("--tokens", type=int, default=1920, help="of the latents")
    job.add_argument("--text", type=int, default=128, help="tokens of the text")
    job.add_argument("--dtype", choices=APART, default="bfloat16")
    job.set_defaults(run=transformer, needed=any)
    for run, clip, told in (
        (codec, "17x256x384", "one clip decoded as a whole, in float32"),
        (parts, "97x128x192", "the same in parts and as a whole, by our codec alone"),
    ):
        job = jobs.add_parser(run.__name__, help=told)
        job.add_argument("--version", choices=CODECS, default="0.9.0")
        job.add_argument("--clip", default=clip, help="frames x height x width")
        job.set_defaults(run=run, needed=all, dtype="float32")
    for job in jobs.choices.values():
        job.add_argument("--rounds", type=int, default=5)
        job.add_argument("--threads", type=int, default=1)
        job.add_argument("--json", type=Path, help="where the figures are written")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with torch.inference_mode():
        figures, apart, bars = given.run(given)
    within = given.needed(found <= most for found, most in bars.values())
    kept = within and apart <= APART[given.dtype]
    how = ("run", "needed", "json")
    asked = {name: value for name, value in vars(given).items() if name not in how}
    print(", ".join(f"{name} {value}" for name, value in asked.items()))
    _, second, *_ = figures.values()
    for name, row in figures.items():
        values = "  ".join(f"{value:8.3f} {unit}" for unit, value in row.items())
        print(f"  {name:20} {values}  {row['s'] / second['s']:5.2f}")
    bars["difference"] = (apart, APART[given.dtype])
    for name, (found, most) in bars.items():
        print(f"  {name}: {found:.3g}, bar {most:g}")
    either = " (of time, one)" if given.needed is any else ""
    print(f"bars{either}: {'kept' if kept else 'missed'}")
    if given.json:
        told = {name: {"found": found, "bar": most} for name, (found, most) in bars.items()}
        packages = ("kinema", "torch", "diffusers")
        record = {**asked, "figures": figures, "bars": told, "kept": kept}
        record["versions"] = {name: version(name) for name in packages}
        write_text(given.json, json.dumps(record, indent=1) + "\n", overwrite=True)
    return 0 if kept else 1


def transformer(given: argparse.Namespace) -> tuple[Figures, float, Bars]:
    """Figures, how far the results are apart, and bars, one of which is enough."""
    config = LTXTransformerConfig(
        latent_channels=128,
        caption_channels=4096,
        num_layers=given.layers,
        num_heads=32,
        head_width=64,
    )
    dtype = getattr(torch, given.dtype)
    ours = LTXTransformer(config, dtype=dtype).eval()
    for index, parameter in enumerate(ours.parameters()):
        if not parameter.any():  # training starts with layers that do nothing
            drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
            parameter.copy_(config.width**-0.5 * drawn)
    theirs = shared(
        diffusers.LTXVideoTransformer3DModel,
        ltx_diffusers.transformer_to_diffusers(config),
        transformer_map.DIFFUSERS.to_theirs(ours.state_dict()),
    )
    x = NOISE.normal((1, given.tokens, config.latent_channels), "x").to(dtype)
    text = NOISE.normal((1, given.text, config.caption_channels), "text").to(dtype)
    span = torch.tensor([4.0, 512.0, 768.0])[:, None]
    places = span * NOISE.uniform((1, 3, given.tokens), "positions")
    mask, level = torch.ones(1, given.text), torch.tensor([0.5])
    conditions = Conditions({"text": Tokens(x=text, mask=mask), "positions": Grid(x=places)})
    run = partial(ours, x, level, conditions)
    figures, apart = measured(
        {
            OURS: run,
            THEIRS: lambda: theirs(
                hidden_states=x,
                encoder_hidden_states=text,
                timestep=config.time_scale * level,
                encoder_attention_mask=mask,
                video_coords=places,
                return_dict=False,
            )[0],
            PRODUCTS: products(ours, run),
        },
        given.rounds,
    )
    bars = {
        "of diffusers' seconds": (share(figures, THEIRS, "s"), TRANSFORMER_BARS[given.dtype]),
        "of the products' seconds": (share(figures, PRODUCTS, "s"), PRODUCTS_BAR),
    }
    return figures, apart, bars


def share(figures: Figures, other: str, unit: str) -> float:
    """What the first call takes, as a share of what another takes."""
    first = next(iter(figures.values()))
    return first[unit] / figures[other][unit]


def codec(given: argparse.Namespace) -> tuple[Figures, float, Bars]:
    """The same of the VAE's decoder."""
    ours, z, level = decoder(given)
    theirs = shared(
        diffusers.AutoencoderKLLTXVideo,
        ltx_diffusers.vae_to_diffusers(ours.config),
        ltx_diffusers.vae_keymap(ours.config).to_theirs(ours.state_dict()),
    )
    calls: Calls = {
        OURS: lambda: ours.decode(z, time=level),
        THEIRS: lambda: theirs.decode(z, level, return_dict=False)[0],
    }
    figures, apart = measured(calls, given.rounds)
    return figures, apart, {"of diffusers' seconds": (share(figures, THEIRS, "s"), CODEC_BAR)}


def parts(given: argparse.Namespace) -> tuple[Figures, float, Bars]:
    """The same of our decoder in parts, and as a whole."""
    ours, z, level = decoder(given)

    def in_parts() -> Tensor:
        ours.tiling = Tiling(frames=8, side=0)
        decoded = ours.decode(z, time=level)
        ours.tiling = None
        return decoded

    figures, apart = measured(
        {PARTS: in_parts, OURS: lambda: ours.decode(z, time=level)}, given.rounds
    )
    bars = {
        f"of the {unit} of the whole": (share(figures, OURS, unit), bar)
        for unit, bar in PARTS_BARS.items()
    }
    return figures, apart, bars


def decoder(given: argparse.Namespace) -> tuple[LTXVAE, Tensor, Tensor | None]:
    """Our VAE, latents of the clip, and the time that it is told."""
    ours = LTXVAE(CODECS[given.version]()).eval()
    z = NOISE.normal((1, *ours.latent_shape(*map(int, given.clip.split("x")))), "latents")
    return ours, z, torch.tensor([0.05]) if ours.config.timestep_conditioning else None


def shared(network: Any, arguments: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """A network of diffusers with the very tensors of ours."""
    with torch.device("meta"):
        made = network.from_config(arguments)
    made.load_state_dict(tensors, assign=True)
    return made.eval()


def products(network: nn.Module, run: Callable[[], object]) -> Callable[[], None]:
    """The linear layers of a call and its attentions alone, each with the input that it has."""
    calls: list[Callable[[], object]] = []

    def layer(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls.append(partial(module.forward, *inputs))

    def attends(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        calls.append(partial(attention, q, k, v, mask))

    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_pre_hook(layer) for module in linear]
    with hooked(attends):
        run()
    for handle in handles:
        handle.remove()

    def alone() -> None:
        for call in calls:
            call()

    return alone


def measured(calls: Calls, rounds: int) -> tuple[Figures, float]:
    """Medians of calls that take turns, and how far the first is from the second."""
    results = [torch.as_tensor(call()).float() for call in list(calls.values())[:2]]
    apart = float((results[0] - results[1]).norm() / results[1].norm())
    del results
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(once(call))
    middle = {
        name: {unit: statistics.median(row[unit] for row in rows) for unit in rows[0]}
        for name, rows in taken.items()
    }
    return middle, apart


def once(call: Callable[[], object]) -> dict[str, float]:
    """Seconds of the clock and of the processors, and GB at the peak beyond what there was."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier calls have freed is given back
    reset_peak = Path("/proc/self/clear_refs")
    reset_peak.write_text("5")
    before, begin, worked = resident_peak(), time.perf_counter(), time.process_time()
    call()
    seconds, processors = time.perf_counter() - begin, time.process_time() - worked
    return {"s": seconds, "processor s": processors, "GB": (resident_peak() - before) / 1e9}


if __name__ == "__main__":
    sys.exit(main())
