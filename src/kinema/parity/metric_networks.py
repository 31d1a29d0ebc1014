"""Adapters for the recorded cases of what scores look through: networks, and FVD's preprocessing.

References: github.com/JunyaoHu/common_metrics_on_video_quality; for Inception
github.com/toshas/torch-fidelity, for C3D github.com/pfnet-research/tgan2.
"""

from __future__ import annotations

import re
from dataclasses import replace

from torch import Tensor

from kinema.errors import InputError, unknown
from kinema.metrics import fvd_preprocessing
from kinema.networks import i3d as i3d_network
from kinema.networks.c3d import C3D, c3d_ucf101
from kinema.networks.i3d import I3D, I3DConfig
from kinema.networks.inception_2015 import Inception2015, inception_2015
from kinema.networks.lpips import LPIPS, LPIPSConfig, lpips_alex, lpips_vgg
from kinema.networks.official import check_arguments
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import c3d as c3d_map
from kinema.weights.maps import i3d as i3d_map
from kinema.weights.maps import lpips as lpips_map

Results = dict[str, Tensor]

LPIPS_NETS: dict[str, tuple[LPIPSConfig, KeyMap]] = {
    "alex": (lpips_alex(), lpips_map.ALEX),
    "vgg": (lpips_vgg(), lpips_map.VGG),
}
I3D_POOLS = {
    "MaxPool3d_2a_3x3": "before Conv3d_2b_1x1",
    "MaxPool3d_3a_3x3": "before Mixed_3b",
    "MaxPool3d_4a_3x3": "before Mixed_4b",
    "MaxPool3d_5a_2x2": "before Mixed_5b",
}
C3D_STAGES = {
    "pre": "before conv1a",
    "pool1": "before conv2a",
    "pool2": "before conv3a",
    "pool3": "before conv4a",
    "pool4": "before conv5a",
    "fc6": "before fc7",
    "fc7": "before fc8",
}
EVERY = re.compile(r"\*_(\d+): every (\d+)th row and column of the \1 result")


def i3d(case: Case) -> Results:
    """A clip, stored small: its pixels are repeated to the size of the published network."""
    case.check_inputs("x", optional=())
    case.check_config("num_classes", "in_channels", optional=())
    config = I3DConfig(
        in_channels=case.config["in_channels"], num_classes=case.config["num_classes"]
    )
    clip = case.inputs["x"]
    for dim in (-1, -2):
        if i3d_network.SIZE % clip.shape[dim]:
            raise InputError(f"{clip.shape[dim]} pixels of the input x do not divide 224")
        clip = clip.repeat_interleave(i3d_network.SIZE // clip.shape[dim], dim)
    network = I3D(config)
    load_weights(network, case, i3d_map.OFFICIAL, {})
    blocks = {name: name for name in network.blocks}
    with recorded(network, stage_places(case, {**I3D_POOLS, **blocks})) as results:
        logits = network(clip)
    return {**results, "out.logits": logits}


def inception(case: Case) -> Results:
    """8-bit pictures to the three features that scores use."""
    case.check_inputs("x", optional=())
    case.check_config("features_list", optional=())
    network = Inception2015(inception_2015())
    load_weights(network, case, KeyMap(), {})
    blocks = {name: name for name, _ in network.named_children()}
    places = stage_places(case, {"resized": "before Conv2d_1a_3x3", **blocks})
    with recorded(network, places) as results:
        pool3 = network(case.inputs["x"] / 127.5 - 1)
    features = {
        "2048": pool3,
        "logits_unbiased": network.unbiased_logits(pool3),
        "logits": network.logits(pool3),
    }
    for name in case.config["features_list"]:
        if name not in features:
            raise unknown("feature of Inception", name, features)
        results[f"out.{name}"] = features[name]
    return results


def c3d(case: Case) -> Results:
    """Clips to the classes of UCF-101, less a mean clip that is stored small."""
    case.check_inputs("x", "mean", optional=())
    case.check_config("n_channels", "n_outputs", "mean_repeat", optional=())
    if case.config["n_channels"] != 3:
        raise InputError(f"C3D takes 3 channels, not n_channels={case.config['n_channels']!r}")
    network = C3D(replace(c3d_ucf101(), num_classes=case.config["n_outputs"]))
    mean = case.inputs["mean"]
    for dim in (-1, -2):
        mean = mean.repeat_interleave(case.config["mean_repeat"], dim)
    load_weights(network, case, c3d_map.OFFICIAL, {c3d_map.MEAN: c3d_map.middle(mean)})
    with recorded(network, stage_places(case, C3D_STAGES)) as results:
        logits = network(case.inputs["x"])
    return {**results, "out.fc8": logits, "out.prob": logits.softmax(dim=1)}


def lpips(case: Case) -> Results:
    """Two pictures and what each tap adds to their distance."""
    case.check_inputs("a", "b", optional=())
    check_arguments(
        "LPIPS",
        case.config,
        needed=("net",),
        optional=(),
        fixed={"net": tuple(LPIPS_NETS), "version": ("0.1",), "spatial": (False,)},
    )
    net = case.config["net"]
    if case.entry != f"lpips-{net}":
        raise InputError(f"the entry {case.entry} cannot have net={net!r}")
    config, keymap = LPIPS_NETS[net]
    network = LPIPS(config)
    load_weights(network, case, keymap, {})
    taps = network.trunk.tapped
    places = {f"trunk_slice{i + 1}": f"trunk.features.{tap}" for i, tap in enumerate(taps)}
    known = stage_places(case, {"scaling_layer": "scaling_layer", **places})
    a, b = case.inputs["a"], case.inputs["b"]
    with recorded(network, known) as results:
        network.trunk(network.scaling_layer(a))  # what was recorded is the first picture
    shape = (-1, 1, 1, 1)
    layers = network.layers(a, b)
    each = {f"out.layer{i}": layer.view(shape) for i, layer in enumerate(layers)}
    return {**results, **each, "out.distance": network(a, b).view(shape)}


def fvd_preprocess(case: Case) -> Results:
    """Clips as I3D is given them, by each way at each size; of some sizes a part is stored."""
    case.check_inputs("video", optional=())
    case.check_config("resolution", optional=())
    results = {}
    for name, variant in fvd_preprocessing.VARIANTS.items():
        for size in case.config["resolution"]:
            clip = variant(case.inputs["video"], size)
            thinned = EVERY.search(case.described.get(f"{name}_{size}", ""))
            if thinned is not None and int(thinned[1]) == size:
                step = int(thinned[2])
                clip = clip[..., ::step, ::step]
            results[f"out.{name}_{size}"] = clip
    return results


ADAPTERS: dict[str, Adapter] = {
    "i3d": i3d,
    "c3d-ucf101": c3d,
    "inception-2015": inception,
    "lpips-alex": lpips,
    "lpips-vgg": lpips,
    "fvd-preprocess": fvd_preprocess,
}
