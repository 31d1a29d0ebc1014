"""`kinema encode`: one process at a time in a folder, and a codec that saves memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from kinema.cli.equipment import work_in_parts
from kinema.data.latents import LatentCache
from kinema.files import LOCK, alone
from kinema.planning.rehearsal import Rehearsal
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import shapes
from kinema.weights.digest import digest


def test_the_second_process_gets_a_line(kinema, model):
    arguments = ("encode", "shapes", "--model", model, "-o", "out", "--count", 3, "--held-out", 2)
    with alone("out"):
        error = kinema(*arguments).error
    assert error == "another process writes in out; wait for it, or choose another folder"
    assert not list(Path("out").rglob("*.safetensors"))
    answer = kinema(*arguments, "--json")
    assert [json.loads(line) for line in answer.out.splitlines()] == [
        {"folder": "out/train", "clips": 3},
        {"folder": "out/held_out", "clips": 2},
    ]
    assert not (Path("out") / LOCK).exists()


def test_a_codec_in_parts_writes_the_same_latents(kinema, model):
    """In few frames at once up to rounding; in tiles, which do not see beyond their edges, less so:
    the weights are random, so that far pixels say as much as near ones.
    """
    large = LTXVideo.from_pretrained(model)
    size = {"num_frames": 25, "height": 96, "width": 128}
    large.config = replace(large.config, sampling=replace(large.config.sampling, **size))
    large.save_pretrained("large.safetensors")
    arguments = ("encode", "shapes", "--model", "large.safetensors", "--count", 2, "--held-out", 1)
    caches = {}
    for name, options in (("whole", ()), ("parts", ("--tile", 0)), ("tiles", ("--tile", 64))):
        answer = kinema(*arguments, "-o", name, *options, "--threads", 1)
        assert answer.status == 0, answer.err
        caches[name] = LatentCache(Path(name) / "train", codec=digest(large.codec), seed=0)
    whole, parts, tiles = (cache((0, 1)) for cache in caches.values())
    assert whole["latents"].shape == (2, 8, 4, 6, 8)
    for key in ("latents", "stills"):  # stored in bfloat16
        torch.testing.assert_close(parts[key], whole[key], rtol=2**-7, atol=1e-4)
    apart = (tiles["latents"] - whole["latents"]).abs().mean()
    assert 0 < apart < 0.5 * whole["latents"].std()
    assert caches["parts"].key == caches["whole"].key
    refused = kinema(*arguments, "-o", "whole", "--tile", 64).error
    assert refused.startswith("whole/train holds latents with source=")
    assert "a multiple of 16 pixels from 64 on" in kinema(*arguments, "-o", "x", "--tile", 24).error


def test_a_codec_in_parts_takes_less_memory():
    """Of 97 frames of 384x384 with the shapes model, counted on the meta device."""
    codec, peaks = LTXVideo(shapes(), device="meta").codec, []
    for equip in (lambda: None, lambda: work_in_parts(codec, "the model", 0)):
        equip()
        with Rehearsal({"codec": codec}) as rehearsal, torch.no_grad():
            codec.encode(torch.empty(1, 3, 97, 384, 384, device="meta"))
        peaks.append(rehearsal.peak - rehearsal.weights)
    assert peaks[1] < 0.5 * peaks[0], peaks
