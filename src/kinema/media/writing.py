"""Writing clips: H.264 with AAC in mp4, and animated GIFs. Files appear only when complete."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from kinema.clip import Clip, check_fps, check_size
from kinema.errors import InputError
from kinema.files import atomic
from kinema.media.pixels import ACCURATE
from kinema.media.sound import resample
from kinema.media.source import av_errors
from kinema.sample import Sound, expect_array

CRF = 18  # x264's quality: 0 is lossless, 51 the worst; at 18 a person sees no difference
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_FRAME = 1024
BT709 = 1  # AVCOL_SPC_BT709, AVCOL_PRI_BT709 and AVCOL_TRC_BT709


def write_clip(path: str | Path, clip: Clip, *, overwrite: bool) -> None:
    """Writes .mp4 or .gif, by the ending of `path`.

    Raises:
        InputError: another ending, an existing file without `overwrite`, or a failure to write.
    """
    ending = Path(path).suffix.lower()
    if ending == ".mp4":
        write_mp4(path, clip, crf=CRF, overwrite=overwrite)
    elif ending == ".gif":
        write_gif(path, clip, overwrite=overwrite)
    else:
        raise InputError(f"cannot write a clip as {path}; end the name in .mp4 or .gif")


def write_mp4(path: str | Path, clip: Clip, *, crf: int, overwrite: bool) -> None:
    """Writes a clip with its sound by `Mp4Writer`, which says what `crf` is and what is raised."""
    height, width = clip.size
    with Mp4Writer(
        path,
        fps=clip.fps,
        height=height,
        width=width,
        sound=clip.sound,
        crf=crf,
        overwrite=overwrite,
    ) as writer:
        for frame in clip.frames:
            writer.add(frame)


class Mp4Writer:
    """Writes an mp4 frame by frame; a context manager.

    The same frames always give the same bytes (one thread, no dates, no version strings). The file
    appears at `path` when the block ends; if it fails or is interrupted, nothing is left. The
    frame rate is exact: 29.97003 is taken as 30000/1001. Pictures are BT.709 4:2:0; H.264 needs
    even sizes for that, so odd ones are stored as 4:4:4, which not every player shows.

    Args:
        path: of the mp4.
        fps: above 0 and at most 1000.
        height: of every frame.
        width: of every frame.
        sound: starts with the first frame; stored as AAC, at the next AAC rate above its own.
        crf: 0 (lossless) to 51 (worst).
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: an argument does not fit, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float,
        height: int,
        width: int,
        sound: Sound | None,
        crf: int,
        overwrite: bool,
    ) -> None:
        check_fps(fps)
        check_size(height, width)
        if not 0 <= crf <= 51:
            raise InputError(f"crf must lie in 0..51, not {crf}; 18 looks lossless, 28 is small")
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(1001)
        self.size = (height, width)
        self.sound = sound
        self.crf = crf
        self.overwrite = overwrite
        self.num_frames = 0
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Mp4Writer:
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(atomic(self.path, overwrite=self.overwrite))
            stack.enter_context(av_errors("write", self.path))
            options = {"movflags": "+faststart", "fflags": "+bitexact"}
            self._container = stack.enter_context(av.open(f"file:{partial}", "w", "mp4", options))
            self._add_video()
            if self.sound is not None:
                self._add_sound(self.sound)
            self._exit = stack.pop_all()
        return self

    def _add_video(self) -> None:
        height, width = self.size
        self._pixels = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        options = {
            "crf": str(self.crf),
            "preset": "medium",
            "threads": "1",
            "flags": "+bitexact",
            # x264's macroblock tree reads memory that it never wrote: with it, equal frames of
            # 64 x 96 gave nine different files in ten runs, without it one.
            "x264-params": "mbtree=0",
        }
        self._video: Any = self._container.add_stream("libx264", rate=self.fps, options=options)
        self._video.width, self._video.height = width, height
        self._video.pix_fmt = self._pixels
        context = self._video.codec_context
        context.color_range = int(ColorRange.MPEG)
        context.colorspace = context.color_primaries = context.color_trc = BT709

    def _add_sound(self, sound: Sound) -> None:
        rate = next((r for r in AAC_RATES if r >= sound.sample_rate_hz), AAC_RATES[-1])
        sound = resample(sound, rate)
        layout = "mono" if len(sound.x) == 1 else "stereo"
        self._audio: Any = self._container.add_stream(
            "aac", rate=rate, layout=layout, options={"flags": "+bitexact"}
        )
        self.sound, self._sound_done = sound, 0

    def add(self, frame: np.ndarray) -> None:
        """Appends one frame, (height, width, 3) uint8 RGB."""
        expect_array("a frame", frame, np.uint8, "H W 3", (*self.size, 3))
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format=self._pixels,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=ACCURATE,
            threads=1,
        )
        picture.pts, picture.time_base = self.num_frames, 1 / self.fps
        self._container.mux(self._video.encode(picture))
        self.num_frames += 1
        self._sound_until(float(self.num_frames / self.fps))

    def _sound_until(self, seconds: float) -> None:
        """Encodes sound up to the pictures, so that the two lie side by side in the file."""
        if self.sound is None:
            return
        rate = self.sound.sample_rate_hz
        layout = "mono" if len(self.sound.x) == 1 else "stereo"
        while self._sound_done < min(seconds * rate, self.sound.x.shape[1]):
            x = self.sound.x[:, self._sound_done : self._sound_done + AAC_FRAME]
            piece = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(x), format="fltp", layout=layout
            )
            piece.sample_rate, piece.time_base = rate, Fraction(1, rate)
            piece.pts = self._sound_done
            self._container.mux(self._audio.encode(piece))
            self._sound_done += x.shape[1]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._exit.__exit__(kind, error, trace)
            return
        with self._exit:
            if not self.num_frames:
                raise InputError(f"no frame was given for {self.path}; add at least one")
            self._sound_until(float("inf"))
            self._container.mux(self._video.encode(None))
            if self.sound is not None:
                self._container.mux(self._audio.encode(None))


def write_gif(path: str | Path, clip: Clip, *, overwrite: bool) -> None:
    """Writes an endless animated GIF of up to 256 colors a frame, without sound.

    A GIF counts time in hundredths of a second: frames are shown a little longer or shorter in
    turn, so that the whole lasts as long as the clip (at most 50 frames a second are shown by
    common viewers).

    Raises:
        InputError: the file exists and `overwrite` is false, or it cannot be written.
    """
    ends = [round(100 * (i + 1) / clip.fps) for i in range(clip.num_frames)]
    durations = [10 * max(end - begin, 1) for begin, end in zip([0, *ends], ends)]
    images = [Image.fromarray(frame) for frame in clip.frames]
    with atomic(path, overwrite=overwrite) as partial:
        images[0].save(partial, save_all=True, append_images=images[1:], duration=durations, loop=0)
