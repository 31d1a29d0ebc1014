"""Rehearsals against what is known by hand, and against memory that is measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from kinema.networks.ltx_transformer import Attention
from kinema.networks.ltx_vae import LTXVAE
from kinema.nn.sites import Site
from kinema.nn.tiles import Tiling
from kinema.noise import Noise
from kinema.planning.autocast import Autocast
from kinema.planning.meters import flops, saved_activations
from kinema.planning.operations import FRESH
from kinema.planning.rehearsal import REST, Rehearsal
from kinema.planning.stand_in import standing_for
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano

META = {"device": "meta"}


def rehearsed(call, networks=None) -> Rehearsal:
    """What a call does on the meta device, without gradients."""
    with torch.no_grad(), Rehearsal(networks or {}) as rehearsal:
        call()
    return rehearsal


def kinds(rehearsal: Rehearsal, role: str = REST) -> dict[str, float]:
    """How many operations of each kind there were."""
    found: dict[str, float] = {}
    for done, count in rehearsal.costs[role].operations.items():
        found[done.kind] = found.get(done.kind, 0) + count
    return found


def test_memory_is_that_of_tensors_that_live_at_once() -> None:
    def chain() -> Tensor:
        x = torch.empty(1000, **META)  # 4000 bytes, and at each step a next one
        for _ in range(5):
            x = x + 1
        return x

    with Rehearsal({}) as rehearsal:
        result = chain()
        assert rehearsal.live == 4000
        views = [result.view(10, 100).transpose(0, 1), result[:10]]
        result.mul_(2)
        assert rehearsal.live == 4000
        del result
        assert rehearsal.live == 4000  # views hold the storage
        views.clear()
        assert rehearsal.live == 0
    assert rehearsal.peak == 8000


def test_weights_are_held_from_the_start_and_counted_once() -> None:
    layer = nn.Linear(10, 10, **META)
    tied = nn.ModuleDict({"a": layer, "b": layer})
    rehearsal = rehearsed(lambda: layer(torch.empty(2, 10, **META)), {"tied": tied})
    assert rehearsal.weights == 4 * 110
    assert rehearsal.peak == 4 * (110 + 20 + 20)


def test_the_peak_of_a_network_is_that_of_the_memory_that_torch_allocates() -> None:
    x = torch.ones(1, 64, 48)
    layers = nn.ModuleList([Attention(Site("a", "self"), 48, 4), nn.GELU(), nn.LayerNorm(48)])

    def run(x: Tensor) -> None:
        attention, gelu, norm = layers
        for _ in range(3):
            x = norm(x + gelu(attention(x, x, None, None)))

    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run(x)
    live = highest = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            highest = max(highest, live)
    layers, on_meta = layers.to("meta"), x.to("meta")
    rehearsal = rehearsed(lambda: run(on_meta), {"network": layers})
    # The profile does not see what was there before.
    assert rehearsal.peak - rehearsal.weights - x.nbytes == pytest.approx(highest, rel=0.02)


def test_operations_are_counted_as_by_the_meter() -> None:
    config = nano()
    model = LTXVideo(config, device="meta")
    noise = Noise(0, (0,))

    def clip(model: LTXVideo) -> None:
        latents = model.latents(["a red ball"], noise=noise, sampling=config.sampling)
        model.decode(latents, noise=noise, sampling=config.sampling)

    @torch.inference_mode()
    def words(model: LTXVideo) -> None:
        model.text(model.text.ids(["a red ball", ""]))

    rehearsal = rehearsed(lambda: clip(model), dict(model.parts.items()))
    # The meter does not see into torch's fused layer of an encoder, which the text has.
    counted = rehearsal.costs["transformer"].flops + rehearsal.costs["codec"].flops
    seen = flops(words, LTXVideo(config))
    assert counted + seen == flops(clip, LTXVideo(config))
    assert rehearsal.costs["text"].flops > seen
    assert rehearsal.costs["transformer"].calls == 2 * config.sampling.steps
    assert rehearsal.costs["codec"].calls == 1


@pytest.mark.parametrize("tiling", [None, Tiling(frames=8, side=0), Tiling(frames=8, side=64)])
def test_a_codec_takes_the_products_of_the_device_that_meta_stands_for(
    tiling: Tiling | None,
) -> None:
    """Those that are counted where it runs: on a CPU in float32 about half."""
    sizes = nano().codec
    sizes = replace(sizes, encoder_base_channels=32, decoder_base_channels=32)
    codec, on_meta = LTXVAE(sizes), LTXVAE(sizes, **META)
    codec.tiling = on_meta.tiling = tiling
    length, height, width = (step * side for step, side in zip(codec.stride, (2, 4, 6)))
    x = torch.zeros(1, 3, length + 1, height, width)

    def both(codec: LTXVAE, x: Tensor) -> None:
        z, time = codec.encode(x), torch.zeros(1, device=x.device)
        codec.decode(z, time=time if sizes.timestep_conditioning else None)

    taken = {}
    for device in ("cpu", "cuda"):
        with standing_for(device):
            rehearsal = rehearsed(lambda: both(on_meta, x.to("meta")), {"codec": on_meta})
        assert rehearsal.costs["codec"].calls == 2
        assert rehearsal.costs[REST].flops == 0
        taken[device] = rehearsal.costs["codec"].flops
    with torch.no_grad():
        assert taken["cpu"] == flops(both, codec, x)
        assert taken["cuda"] == flops(both, on_meta, x.to("meta"))
    assert 0.4 * taken["cuda"] < taken["cpu"] < 0.8 * taken["cuda"]


def test_the_state_of_the_modules_is_as_it_was() -> None:
    layer = nn.Sequential(nn.Linear(3, 3, **META))
    codec = LTXVAE(nano().codec, **META)
    for network in (layer, codec):
        before = [dict(module.__dict__) for module in network.modules()]
        with Rehearsal({"network": network}):
            pass
        assert [dict(module.__dict__) for module in network.modules()] == before


def test_a_call_of_known_shapes_is_counted_without_being_run() -> None:
    runs = []

    class Network(nn.Module):
        def forward(self, x: Tensor, scale: float) -> Tensor:
            runs.append(x.shape)
            return x @ x * scale

    network, x = Network(), torch.empty(8, 8, **META)

    def calls() -> None:
        for _ in range(5):
            network(x, 2.0)
        network(x[:4, :4], 2.0)
        network(x, 3.0)

    cost = rehearsed(calls, {"network": network}).costs["network"]
    assert runs == [(8, 8), (4, 4), (8, 8)]
    assert (cost.calls, cost.flops) == (7, 6 * 2 * 8**3 + 2 * 4**3)
    runs.clear()
    with Rehearsal({"network": network}):  # gradients need the graph
        calls()
    assert len(runs) == 7


def test_a_value_is_one_and_nothing_leaves_the_device() -> None:
    x = torch.empty(4, **META)
    with Rehearsal({}):
        assert float(x.sum()) == 1.0
        assert bool((x > 0).all())
        assert int(x.long()[0]) == 1
        assert x.cpu().is_meta
        assert torch.ones(3).sum().item() == 3.0  # what is computed is as ever
        assert x.to(torch.bfloat16).dtype is torch.bfloat16


def test_attention_is_one_operation_and_holds_no_logits() -> None:
    q = torch.empty(1, 2, 512, 16, **META)
    rehearsal = rehearsed(lambda: F.scaled_dot_product_attention(q, q, q))
    assert kinds(rehearsal) == {"attention": 1}
    assert rehearsal.costs[REST].flops == 4 * 2 * 512 * 512 * 16
    assert rehearsal.peak < 4 * 2 * 512 * 512


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda x: x + x, "plain"),
        (lambda x: x.clone(), "plain"),
        (lambda x: x * x[0], "plain"),
        (lambda x: x[::2] + 1, "plain"),
        (lambda x: x[:, :16] + 1, "plain"),  # runs of 64 bytes
        (lambda x: x[:, :15] + 1, "strided"),
        (lambda x: x[:, ::2].add_(1), "strided"),
        (lambda x: torch.cat((x, x)), "plain"),
        (lambda x: F.silu(x), "function"),
        (lambda x: x.softmax(-1), "function"),
        (lambda x: x.sigmoid_(), "function"),
        (lambda x: F.gelu(x), "series"),
        (lambda x: x.t().contiguous(), "strided"),
        (lambda x: -x[:, ::2], "strided"),
        (lambda x: torch.stack((x, x), -1), "strided"),
        (lambda x: x @ x, "matmul"),
    ],
)
def test_operations_have_kinds(call, kind: str) -> None:
    x = torch.empty(64, 64, **META)
    assert list(kinds(rehearsed(lambda: call(x)))) == [kind]


def test_views_and_empty_tensors_are_no_work() -> None:
    x = torch.empty(64, 64, **META)
    assert kinds(rehearsed(lambda: torch.empty_like(x).view(-1)[3:].unflatten(0, (1, -1)))) == {}


def test_bytes_are_those_that_are_touched() -> None:
    x = torch.empty(64, 64, **META)
    (done,) = rehearsed(lambda: x + x[:, :1].expand(64, 64)).costs[REST].operations
    assert (done.bytes, done.size, done.fresh) == (3 * 4 * 64**2, 3 * 4 * 64**2, 0)
    (done,) = rehearsed(lambda: torch.empty(FRESH, **META) + 1).costs[REST].operations
    assert done.fresh == 4 * FRESH
    (done,) = rehearsed(lambda: torch.empty(FRESH, **META).add_(1)).costs[REST].operations
    assert done.fresh == 0


def test_what_is_written_elsewhere_is_moved_once() -> None:
    x, y, out = (torch.empty(FRESH, **META) for _ in range(3))
    (done,) = rehearsed(lambda: torch.add(x, y, out=out)).costs[REST].operations
    assert (done.kind, done.bytes, done.fresh) == ("plain", 3 * 4 * FRESH, 0)


def test_every_fourth_frame_is_streamed_and_every_fourth_number_is_not() -> None:
    x = torch.empty(1, 32, 16, 8, 8, memory_format=torch.channels_last_3d, **META)
    frames, numbers = x[:, :, ::4], x[:, ::4]
    out = torch.empty_like(x)[:, :, 1::4]
    assert kinds(rehearsed(lambda: torch.add(frames, frames, out=out))) == {"plain": 1}
    assert kinds(rehearsed(lambda: frames + 1)) == {"plain": 1}
    assert kinds(rehearsed(lambda: numbers + 1)) == {"strided": 1}
    assert kinds(rehearsed(lambda: frames.contiguous())) == {"strided": 1}


def test_a_convolution_works_on_copies() -> None:
    narrow = {**META, "dtype": torch.bfloat16}
    conv, x = nn.Conv3d(4, 8, 3, bias=False, **narrow), torch.empty(1, 4, 5, 6, 6, **narrow)
    rehearsal = rehearsed(lambda: conv(x), {"conv": conv})
    (done,) = rehearsal.costs["conv"].operations
    there = 2 * (4 * 8 * 27 + 4 * 5 * 36 + 8 * 3 * 16)
    assert done.workspace == done.bytes == there
    assert rehearsal.peak == 2 * there


@pytest.mark.parametrize(("rows", "unrolled"), [(5120, True), (5121, False)])
def test_small_convolutions_in_float32_work_on_all_patches(rows: int, unrolled: bool) -> None:
    conv = nn.Conv3d(4, 8, (1, 3, 3), padding=(0, 1, 1), **META)
    x = torch.empty(1, 4, 1, rows, 6, **META)
    (done,) = rehearsed(lambda: conv(x), {"conv": conv}).costs["conv"].operations
    assert done.workspace == (4 * 4 * 9 * rows * 6 if unrolled else done.bytes)


@pytest.mark.parametrize(("width", "unrolled"), [(10, True), (11, False)])
def test_torch_takes_the_width_of_images_into_account(width: int, unrolled: bool) -> None:
    conv, x = nn.Conv2d(4, 8, 3, padding=1), torch.zeros(1, 4, 512, width)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as record:
        conv(x)
    called = {event.key for event in record.key_averages()}
    assert ("aten::mkldnn_convolution" not in called) is unrolled
    conv, on_meta = conv.to("meta"), x.to("meta")
    rehearsal = rehearsed(lambda: conv(on_meta), {"conv": conv})
    (done,) = rehearsal.costs["conv"].operations
    assert kinds(rehearsal, "conv") == {"images": 1}
    assert done.workspace == (4 * 4 * 9 * 512 * width if unrolled else done.bytes)


def test_convolutions_of_images_are_a_kind_of_their_own_backward_too() -> None:
    conv, x = nn.Conv2d(4, 8, 3, **META), torch.empty(2, 4, 16, 16, **META)
    with Rehearsal({"conv": conv}) as rehearsal:
        conv(x).sum().backward()
    assert kinds(rehearsal)["images"] == 1
    assert kinds(rehearsal, "conv") == {"images": 1}


def test_training_holds_what_autograd_keeps() -> None:
    layers = nn.Sequential(*(nn.Linear(32, 32) for _ in range(4)))
    x = torch.ones(16, 32)
    kept = saved_activations(lambda: layers(x))
    layers.to("meta")
    with Rehearsal({"layers": layers}) as rehearsal:
        loss = layers(x.to("meta")).sum()
        held = rehearsal.live - rehearsal.weights
        loss.backward()
        gradients = rehearsal.live - rehearsal.weights
    assert held == kept + 4  # the loss
    assert gradients == rehearsal.weights + 4
    assert rehearsal.costs[REST].flops == 2 * rehearsal.costs["layers"].flops - 2 * 16 * 32 * 32


def test_autocast_lowers_products_alone_and_casts_a_weight_once() -> None:
    layer, x = nn.Linear(8, 8, **META), torch.empty(4, 8, **META)
    with Rehearsal({"layer": layer}) as rehearsal:
        with Autocast():
            y = layer(x)
            both = layer(x) + x
            assert (x @ layer.weight).dtype is torch.bfloat16
            assert F.layer_norm(x, (8,)).dtype is torch.float32
        assert (y.dtype, both.dtype) == (torch.bfloat16, torch.float32)
        assert layer(x).dtype is torch.float32
    casts = [
        count
        for cost in rehearsal.costs.values()
        for done, count in cost.operations.items()
        if done.dtype == "bfloat16" and done.bytes == 6 * layer.weight.numel()
    ]
    assert sum(casts) == 1


def test_autocast_gives_the_types_that_torch_gives() -> None:
    attention = Attention(Site("a", "self"), 12, 2)
    x = torch.ones(1, 5, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = attention(x, x, None, None).dtype
    with Rehearsal({}), Autocast():
        planned = attention.to("meta")(x.to("meta"), x.to("meta"), None, None)
    assert planned.dtype is expected is torch.bfloat16
