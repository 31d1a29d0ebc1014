"""What ZeroI2V costs beyond CLIP's image tower, on one CPU thread: operations, seconds, parameters.

The tower sees the frames of a clip one by one; ZeroI2V sees the clip, with adapters and with these
merged. All have the sizes of ViT-B/16 at fewer layers and pixels. They run in turn; medians.

python bench/zeroi2v_cost.py
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from kinema.networks.clip import CLIPConfig, ImageTower, vit_b_16
from kinema.networks.zeroi2v import ZeroI2V
from kinema.networks.zeroi2v_config import b_16
from kinema.nn.frames import to_frames
from kinema.planning.meters import flops

SMALLER = {"image_size": 112, "num_layers": 3}
ROUNDS = 7


class Features(nn.Module):
    """What a network says before its head, of a clip (1, 3, T, S, S)."""

    def __init__(self, network: ZeroI2V | ImageTower) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor) -> Tensor:
        """(T, D)."""
        if isinstance(self.network, ZeroI2V):
            return self.network.frame_features(clip)[0]
        return self.network(to_frames(clip))


def main() -> None:
    """One line for each network: parameters, operations, median seconds, ratio to the tower."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tower_config = vit_b_16()
    image = replace(tower_config.image, **SMALLER)
    tower = ImageTower(CLIPConfig(image=image, text=tower_config.text, embed_width=1))
    tower.init_tokens()
    config = replace(b_16(1, 8), **SMALLER)
    adapted, merged = ZeroI2V(config), ZeroI2V(config)
    for name, parameter in adapted.named_parameters():
        if ".adapters." in name:  # which change nothing at first
            nn.init.normal_(parameter, std=0.02)
    merged.load_state_dict(adapted.state_dict())
    merged.merge_adapters()
    networks = {"image tower": tower, "merged": merged, "with adapters": adapted}
    clip = torch.randn(1, 3, config.num_frames, config.image_size, config.image_size)
    calls = {name: Features(network.eval()) for name, network in networks.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        before, after = calls["with adapters"](clip), calls["merged"](clip)
        apart = (after - before).abs().max() / before.abs().max()
        for _ in range(ROUNDS):
            for name, call in calls.items():
                begin = time.process_time()
                call(clip)
                seconds[name].append(time.process_time() - begin)
        for name, call in calls.items():
            count = sum(parameter.numel() for parameter in call.parameters())
            median = statistics.median(seconds[name][1:])
            ratio = median / statistics.median(seconds["image tower"][1:])
            print(
                f"{name}: {count:,} parameters, {flops(call, clip) / 1e9:.4f} GFLOP, "
                f"{1e3 * median:.0f} ms, ratio {ratio:.3f}"
            )
    print(f"merging changes features by {float(apart):.1e} of the largest at most")


if __name__ == "__main__":
    main()
