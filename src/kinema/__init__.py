"""Kinema: transformer models of video.

import kinema
model = kinema.load("ltx_video:shapes")
model.generate("a small red circle moves left on a navy background", seed=0).write("clip.mp4")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinema.systems import load

__all__ = ["load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "load":
        from kinema.systems import load  # torch is imported when a model is asked for, not before

        return load
    raise AttributeError(f"module 'kinema' has no attribute {name!r}")
