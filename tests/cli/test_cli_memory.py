"""What needs more memory than there is: one line, whoever asked for it."""

from __future__ import annotations

import resource
from collections.abc import Callable

import numpy as np
import pytest
import torch

from kinema.systems.ltx_video import LTXVideo

PROMPT = "a small red circle moves left"
LINE = "it needs more than this machine's memory; ask for less, or see `kinema plan`"


@pytest.mark.parametrize(
    "ask", [lambda: torch.empty(2**60), lambda: np.empty(2**55), lambda: bytearray(2**60)]
)
def test_memory_that_is_not_there(
    kinema, model, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    monkeypatch.setattr(LTXVideo, "latents", lambda *_, **__: ask())
    assert kinema("generate", PROMPT, "--model", model).error == LINE
    debugged = kinema("--debug", "generate", PROMPT, "--model", model)
    assert "Traceback" in debugged.err


def test_another_error_of_torch_is_ours(kinema, model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LTXVideo, "latents", lambda *_, **__: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        kinema("generate", PROMPT, "--model", model)


@pytest.mark.slow
def test_a_clip_that_no_machine_holds(process, model) -> None:
    def two_gigabytes() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))

    size = ("--size", "16384x16384", "--threads", 1)
    started = process("generate", PROMPT, "--model", model, *size, preexec_fn=two_gigabytes)
    assert "choose a smaller size or fewer frames" in started.answer().error
