"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (arXiv 2103.00020).

Authors' code: github.com/openai/CLIP (MIT), ``CLIP`` with a ``VisionTransformer``. Verified: names
and shapes of all published ViTs and, at random weights, features and logits against their class
and against transformers' ``CLIPModel`` (5.23.0). Left out: the ResNets.

Letters: B images, C texts, L pieces of words, N tokens of an image, D width, E width of the
features.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, Unpack

import torch
from torch import Tensor, nn

from kinema.config import config
from kinema.data.preprocessing import Preprocessing
from kinema.errors import InputError
from kinema.networks.vit import PatchEmbed, ViTConfig, check_heads, plain_block
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.weights.files import Checkpoint, load_tensors, open_checkpoint
from kinema.weights.keymap import KeyMap, Lazy, lazy
from kinema.weights.maps import clip as maps

EPS = 1e-5
KERNEL = "patch_embed.proj.weight"
TEMPERATURE = 0.07  # of the logits, at first

# The authors' ``_transform``, for all sizes below.
PREPROCESSING = Preprocessing(
    shorter_side=224,
    size=224,
    interpolation="bicubic",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)


@config
class TextTowerConfig:
    """Sizes of the text encoder, which reads up to `max_tokens` pieces of a `vocabulary`."""

    vocabulary: int
    max_tokens: int
    width: int
    num_layers: int
    num_heads: int

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)


@config
class CLIPConfig:
    """Sizes of both encoders; `embed_width` is E."""

    image: ViTConfig
    text: TextTowerConfig
    embed_width: int


def vit_b_32() -> CLIPConfig:
    """ViT-B/32: 151,277,313 parameters."""
    return _base(32)


def vit_b_16() -> CLIPConfig:
    """ViT-B/16: 149,620,737 parameters."""
    return _base(16)


def vit_l_14() -> CLIPConfig:
    """ViT-L/14 at 224 pixels: 427,616,513 parameters."""
    image = ViTConfig(
        image_size=224, patch_size=14, width=1024, num_layers=24, num_heads=16, eps=EPS
    )
    return CLIPConfig(image=image, text=_text(768), embed_width=768)


def _base(patch_size: int) -> CLIPConfig:
    image = ViTConfig(
        image_size=224, patch_size=patch_size, width=768, num_layers=12, num_heads=12, eps=EPS
    )
    return CLIPConfig(image=image, text=_text(512), embed_width=512)


def _text(width: int) -> TextTowerConfig:
    return TextTowerConfig(
        vocabulary=49_408, max_tokens=77, width=width, num_layers=12, num_heads=width // 64
    )


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), an approximation of GELU (arXiv:1606.08415, section 2)."""
    return x * torch.sigmoid(1.702 * x)


def blocks(
    name: str, sizes: ViTConfig | TextTowerConfig, *, eps: float, **factory: Unpack[Factory]
) -> nn.ModuleList:
    """The blocks of a tower, which has this name in its network; `eps` is that of their norms."""
    return nn.ModuleList(
        plain_block(
            f"{name}.blocks.{i}",
            sizes.width,
            sizes.num_heads,
            activation=quick_gelu,
            eps=eps,
            **factory,
        )
        for i in range(sizes.num_layers)
    )


class ImageTokens(Checkpointed):
    """How images become tokens, here and in the video networks that start from these weights.

    Args:
        sizes: of the tower.
        patch_embed: images, or frames of clips, to patches (..., P, D).
    """

    NEW: ClassVar[tuple[str, ...]] = ()
    """Patterns of the names of tensors that CLIP's image tower does not have, or not the same."""

    def __init__(
        self, sizes: ViTConfig, patch_embed: nn.Module, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(sizes.width, **factory))
        self.pos_embed = nn.Parameter(torch.empty(1 + sizes.num_patches, sizes.width, **factory))
        self.patch_embed = patch_embed
        self.norm_pre = nn.LayerNorm(sizes.width, eps=sizes.eps, **factory)

    def init_tokens(self) -> None:
        """First values of class token and positions, as the authors have them."""
        for table in (self.class_embedding, self.pos_embed):
            nn.init.normal_(table, std=table.shape[-1] ** -0.5)

    def placed(self, patches: Tensor) -> Tensor:
        """Patches (..., P, D) -> (..., 1 + P, D): behind the class token, at their positions."""
        cls = self.class_embedding.expand(*patches.shape[:-2], 1, -1)
        return torch.cat([cls, patches], -2) + self.pos_embed


class ImageTower(ImageTokens):
    """Images (B, 3, S, S) -> features (B, E), from the class token."""

    def __init__(self, config: CLIPConfig, **factory: Unpack[Factory]) -> None:
        sizes = config.image
        patches = PatchEmbed((sizes.patch_size,) * 2, sizes.width, bias=False, **factory)
        super().__init__(sizes, patches, **factory)
        self.config = sizes
        self.blocks = blocks("image", sizes, eps=sizes.eps, **factory)
        self.norm = nn.LayerNorm(sizes.width, eps=sizes.eps, **factory)
        self.proj = nn.Linear(sizes.width, config.embed_width, bias=False, **factory)

    def forward(self, images: Tensor) -> Tensor:
        """See the class; images are normalized as `PREPROCESSING` does.

        Raises:
            InputError: they have another size.
        """
        size = self.config.image_size
        if images.shape[1:] != (3, size, size):
            raise InputError(f"CLIP reads images (B, 3, {size}, {size}), not {tuple(images.shape)}")
        x_BND = self.norm_pre(self.placed(self.patch_embed(images)))
        return self.proj(self.norm(self.through(self.blocks, x_BND, None)[:, 0]))


class VideoTower(ImageTokens):
    """A network of clips (B, 3, T, S, S) that starts from the image tower -> logits (B, K)."""

    dropout: nn.Module
    head: nn.Linear

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S), normalized -> features (B, D)."""
        raise NotImplementedError

    def forward_head(self, features: Tensor) -> Tensor:
        """Features (B, D) -> logits (B, K)."""
        return self.head(self.dropout(features))

    def forward(self, x: Tensor) -> Tensor:
        """See the class; clips are normalized."""
        return self.forward_head(self.forward_features(x))


def load_image_tower(network: ImageTokens, path: str | Path) -> None:
    """Loads the image tower of a CLIP file into a network that starts from it, in place.

    What is `NEW` in the network keeps its values.

    Args:
        network: a video network with the tower's names.
        path: a file or folder with the names of the authors, of OpenCLIP or of transformers.

    Raises:
        InputError: the file is damaged, or its tower is of another size.
    """
    own = {name: v for name, v in lazy(network.state_dict()).items() if is_new(name, network)}
    tower = image_tower(open_checkpoint(path), network)
    load_tensors(network, own | tower, KeyMap(), where=str(path))


def image_tower(checkpoint: Checkpoint, network: ImageTokens) -> dict[str, Lazy]:
    """What a network takes from a CLIP file, by our names.

    A kernel over frames gets that over images in its middle, and zeros around it.

    Raises:
        InputError: the file holds no CLIP model.
    """
    try:
        found = maps.image_tower(checkpoint.tensors).lazy_to_ours(checkpoint.tensors)
    except InputError as error:
        raise InputError(f"{checkpoint.path} holds no CLIP model: {error}") from None
    tower = {name: value for name, value in found.items() if not is_new(name, network)}
    tower.pop("proj.weight", None)  # to the space of texts
    kernel = network.state_dict()[KERNEL]
    if KERNEL in tower and kernel.ndim == 5:
        tower[KERNEL] = inflated(tower[KERNEL], kernel.shape[2])
    return tower


def is_new(name: str, network: ImageTokens) -> bool:
    """Whether a network has a tensor of this name for itself, and not from CLIP's image tower."""
    return any(fnmatchcase(name, pattern) for pattern in network.NEW)


def inflated(kernel: Lazy, frames: int) -> Lazy:
    """A kernel (D, C, height, width) as one over frames that reads the middle one alone."""

    def read() -> Tensor:
        image = kernel.read()
        out = image.new_zeros(*image.shape[:2], frames, *image.shape[2:])
        out[:, :, frames // 2] = image
        return out

    return Lazy((*kernel.shape[:2], frames, *kernel.shape[2:]), read)


class TextTower(Checkpointed):
    """Pieces of words (C, L) -> features (C, E), from the token that ends each text."""

    def __init__(self, config: CLIPConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = sizes = config.text
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.width, **factory)
        self.pos_embed = nn.Parameter(torch.empty(sizes.max_tokens, sizes.width, **factory))
        self.blocks = blocks("text", sizes, eps=EPS, **factory)
        self.norm = nn.LayerNorm(sizes.width, eps=EPS, **factory)
        self.proj = nn.Linear(sizes.width, config.embed_width, bias=False, **factory)

    def forward(self, ids: Tensor) -> Tensor:
        """See the class. The end has the largest id; what follows it is padding and not read.

        Raises:
            InputError: there are more pieces than the tower has positions.
        """
        length, longest = ids.shape[1], self.config.max_tokens
        if length > longest:
            raise InputError(f"CLIP reads up to {longest} pieces of words, not {length}")
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        x_CLD = self.token_embedding(ids) + self.pos_embed[:length]
        x_CLD = self.norm(self.through(self.blocks, x_CLD, causal))
        end = ids.argmax(1)
        return self.proj(x_CLD[torch.arange(len(ids), device=ids.device), end])


class CLIP(Checkpointed):
    """Both towers, and how alike what they see is."""

    def __init__(self, config: CLIPConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.image = ImageTower(config, **factory)
        self.text = TextTower(config, **factory)
        self.logit_scale = nn.Parameter(torch.empty((), **factory))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Embeddings, projections and scale as the authors have them; the rest is torch's."""
        image, text = self.image, self.text
        image.init_tokens()
        nn.init.normal_(image.proj.weight, std=self.config.image.width**-0.5)
        nn.init.normal_(text.token_embedding.weight, std=0.02)
        nn.init.normal_(text.pos_embed, std=0.01)
        nn.init.normal_(text.proj.weight, std=self.config.text.width**-0.5)
        nn.init.constant_(self.logit_scale, math.log(1 / TEMPERATURE))

    def features(self, x: Tensor) -> Tensor:
        """Images (B, 3, S, S), normalized -> features (B, E) of any length. See `ImageTower`."""
        return self.image(x)

    def text_features(self, ids: Tensor) -> Tensor:
        """Pieces of words (C, L) -> features (C, E) of any length. See `TextTower`."""
        return self.text(ids)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """Images (B, 3, S, S) and texts (C, L) -> logits (B, C): scaled cosines of features."""
        image, text = (
            features / features.norm(dim=1, keepdim=True)
            for features in (self.features(x), self.text_features(ids))
        )
        return self.logit_scale.exp() * image @ text.T
