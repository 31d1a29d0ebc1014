"""Exported networks give equal outputs, or are not written."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema import registry
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.recognizer import Recognizer
from kinema.weights.export import Exportable, export


def recognizers() -> list[str]:
    """The names of all."""
    cards = registry.cards()
    return [name for name in cards if issubclass(registry.system_class(name), Recognizer)]


class Net(nn.Module):
    """A convolution, a reduction and a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 2)
        self.head = nn.Linear(8, 5)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.conv(clips).relu().mean((2, 3, 4)))


class Forgetful(Net):
    """Gives something else whenever it is traced."""

    def forward(self, clips: Tensor) -> Tensor:
        out = super().forward(clips)
        return out + 1 if torch.compiler.is_exporting() else out


class Fixed(Net):
    """Works for one batch size alone, as tracing sees it."""

    def forward(self, clips: Tensor) -> Tensor:
        return super().forward(clips).view(len(clips), 5)


def exportable(kind: type[nn.Module] = Net) -> Exportable:
    torch.manual_seed(0)
    clips = Noise(0, (0, 1)).normal((2, 3, 4, 6, 6), "clips")
    return Exportable(kind().eval(), {"clips": clips}, "logits")


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx"])
def test_what_is_written_gives_the_same(tmp_path, name):
    of = exportable()
    error = export(of, tmp_path / name, overwrite=False)
    assert error < 1e-5
    x = Noise(0, (0, 1, 2)).normal((3, 3, 4, 6, 6), "others")
    if name.endswith(".onnx"):
        import onnxruntime

        session = onnxruntime.InferenceSession(str(tmp_path / name))
        found = torch.from_numpy(session.run(["logits"], {"clips": x.numpy()})[0])
    else:
        found = torch.export.load(tmp_path / name).module()(x)
    torch.testing.assert_close(found, of.module(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx"])
def test_other_outputs_are_not_written(tmp_path, name):
    with pytest.raises(InputError, match="other outputs"):
        export(exportable(Forgetful), tmp_path / name, overwrite=False)
    assert not [*tmp_path.iterdir()]


def test_a_network_that_fixes_the_batch_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot follow this network: Constraints violated"):
        export(exportable(Fixed), tmp_path / "net.pt2", overwrite=False)
    assert not [*tmp_path.iterdir()]


def test_an_ending_or_a_file_that_is_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"\.pt2 or \.onnx"):
        export(exportable(), tmp_path / "net.pt", overwrite=False)
    (tmp_path / "net.pt2").touch()
    with pytest.raises(InputError, match="exists"):
        export(exportable(), tmp_path / "net.pt2", overwrite=False)


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
@pytest.mark.parametrize("name", recognizers())
def test_every_recognizer_can_be_exported(tmp_path, name, suffix):
    system = registry.system_class(name)
    torch.manual_seed(0)
    model = system(system.PRESETS["nano"]())
    for own, parameter in model.parts.named_parameters():  # a head of zeros would say nothing
        parameter.data += 0.05 * Noise(0, (0,)).normal((1, *parameter.shape), own)[0]
    assert export(model.exportable(), tmp_path / f"model{suffix}", overwrite=False) < 1e-5
