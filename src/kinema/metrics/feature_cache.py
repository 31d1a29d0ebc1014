"""What was computed of clips, kept on disk: a run that was stopped goes on where it was.

Entries are found by the content of a clip, so renamed and moved files are known again. Each kind of
feature has a folder, named after all that it depends on besides the clip; `key.json` in it says
that in words. Shards appear complete or not at all, and several processes may write at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinema.files import write_text
from kinema.weights import files

SHARD = 64  # clips in a file: what a kill costs at most


class FeatureCache:
    """Tensors by the digest of a clip; `flush` writes those that are not in a whole shard yet.

    Args:
        folder: of all caches.
        key: what the features depend on besides the clip.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, key: Mapping[str, object]) -> None:
        said = json.dumps(dict(key), indent=1, sort_keys=True)
        self.folder = folder / hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
        write_text(self.folder / "key.json", said + "\n", overwrite=True)
        self.places: dict[str, Path] = {}
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            self.places |= dict.fromkeys(_names(path), path)
        self.fresh: dict[str, Tensor] = {}

    def __contains__(self, clip: str) -> bool:
        return clip in self.fresh or clip in self.places

    def __getitem__(self, clip: str) -> Tensor:
        if clip in self.fresh:
            return self.fresh[clip]
        with safe_open(self.places[clip], framework="pt") as file:
            return file.get_tensor(clip)

    def __setitem__(self, clip: str, value: Tensor) -> None:
        self.fresh[clip] = value.detach().cpu().contiguous()
        if len(self.fresh) >= SHARD:
            self.flush()

    def flush(self) -> None:
        """Writes what is not yet written."""
        if not self.fresh:
            return
        names = hashlib.blake2b("".join(sorted(self.fresh)).encode(), digest_size=8).hexdigest()
        path = self.folder / f"shard-{names}.safetensors"
        files.save(path, self.fresh, {}, overwrite=True)
        self.places |= dict.fromkeys(self.fresh, path)
        self.fresh = {}


def _names(path: Path) -> list[str]:
    """The clips in a shard; none if it is damaged: they are computed again."""
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError):
        return []
