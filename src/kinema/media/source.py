"""Opening media files, and the one place where errors of PyAV become lines for people."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from kinema.errors import InputError
from kinema.files import FULL_DISK, reason

# What a file may declare. Files of a few bytes can declare anything, so these are looked at before
# memory is taken; decoders are told the first too, since a size may change on the way.
MAX_PIXELS = 2**26  # of a frame: 8192 x 8192
MAX_SECONDS = 360_000  # that a file may last: 100 hours
MAX_FRAMES = 10_000_000  # that a file may have, or give at the frame rate that is asked for
MAX_BYTES = 2_000_000_000  # of uncompressed frames, sound or numbers that one call may return
DECODING = {"max_pixels": str(MAX_PIXELS)}
# Formats that would open other files, and themselves again, and what the commonest begin with.
PLAYLISTS = {
    *("hls", "concat", "dash", "webm_dash_manifest", "imf", "sdp", "rtsp", "rtp", "sap"),
    *("applehttp", "vobsub", "mlv", "lavfi", "avisynth", "vapoursynth"),
}
PLAYLIST_HEADS = (b"#EXTM3U", b"ffconcat", b"v=0")
FORMATS = ",".join(sorted(av.formats_available - PLAYLISTS))
PICTURES = {"jpeg_pipe", "image2"}  # decoded strictly: a decoder may paint over a missing end
MEDIA_BOXES = {b"mdat", b"moov", b"moof"}  # of an mp4
SOUND_ONLY = "{path} has no pictures, only sound; read it with kinema.media.read_sound"


@contextlib.contextmanager
def av_errors(action: str, path: Path) -> Iterator[None]:
    """Turns what PyAV raises inside the block into ``cannot <action> <path>: <reason>``."""
    try:
        yield
    except av.FFmpegError as error:
        full = error.errno in FULL_DISK
        said = reason(error) if full else (error.strerror or str(error)).rstrip(".").lower()
        raise InputError(f"cannot {action} {path}: {said}") from error


class Source:
    """An open media file; a context manager.

    Args:
        path: a video, sound, GIF or picture file.
        kind: the stream that is wanted: ``"video"`` or ``"audio"``.

    Attributes:
        container: the PyAV container, positioned at its beginning.
        stream: the first real stream of that kind (cover art does not count).

    Raises:
        InputError: the file is missing, empty, unreadable, no media file, or lacks such a stream.
    """

    def __init__(self, path: str | Path, kind: str) -> None:
        self.path = Path(path)
        self.kind = kind
        _check_file(self.path)
        self._open()

    def _open(self) -> None:
        # These keep a:b.mp4 and 100%d.png from being taken as a protocol and a pattern.
        try:
            self.container = av.open(
                f"file:{self.path}",
                options={
                    "protocol_whitelist": "file",
                    "format_whitelist": FORMATS,
                    "pattern_type": "none",
                    **DECODING,
                },
                metadata_errors="replace",
            )
        except av.FFmpegError as error:
            with self.path.open("rb") as file:
                listing = file.read(16).removeprefix(b"\xef\xbb\xbf").startswith(PLAYLIST_HEADS)
            if listing:
                raise InputError(
                    f"{self.path} is a playlist; name one of the files that it lists"
                ) from error
            raise InputError(
                f"{self.path} is not a video, sound or picture file, or is cut short; "
                "check that it plays, or fetch it again"
            ) from error
        try:
            self.stream = self._choose()
        except InputError:
            self.container.close()
            raise
        strict = {"err_detect": "explode"} if self.format in PICTURES else {}
        self.stream.codec_context.options = {**DECODING, **strict}

    @property
    def format(self) -> str:
        """The container format as FFmpeg calls it, the first name where it has several."""
        return str(self.container.format.name).partition(",")[0]

    @property
    def seconds_per_tick(self) -> float:
        """Seconds per unit of the stream's time stamps."""
        return float(self.stream.time_base)

    def _choose(self) -> Any:
        streams = self.container.streams
        videos = [s for s in streams.video if not s.disposition & Disposition.attached_pic]
        found = videos if self.kind == "video" else list(streams.audio)
        if not found and self.kind == "audio":
            raise InputError(f"{self.path} has no sound; choose a file that has")
        if not found and streams.audio:
            raise InputError(SOUND_ONLY.format(path=self.path))
        if not found:
            raise InputError(f"{self.path} has no pictures, or is cut short; choose another file")
        stream = found[0]
        if stream.codec_context is None:
            raise InputError(
                f"{self.path} is encoded in a way that this PyAV cannot decode; "
                "convert it to H.264 first"
            )
        if self.kind == "video":
            self._check_declared_size(stream.codec_context)
        return stream

    def _check_declared_size(self, context: Any) -> None:
        # A decoder that was told the limit keeps a larger size to itself: it reads as zero.
        if not 0 < context.width * context.height <= MAX_PIXELS:
            raise InputError(
                f"{self.path} is damaged, or declares frames of more than {MAX_PIXELS:,} pixels; "
                "scale it down first, or fetch it again"
            )

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.container.close()

    def packets(self) -> Iterator[Any]:
        """The packets of the stream from here on; an empty one without times marks its end."""
        # When further streams appear on the way, PyAV (18.1) stumbles over them at the very end of
        # the file, after it gave all packets.
        with contextlib.suppress(IndexError):
            yield from self.container.demux(self.stream)

    def restart(self) -> None:
        """Goes back to the beginning of the file."""
        self.container.close()
        self._open()

    def seek(self, target: int) -> bool:
        """Moves to a keyframe whose pts is at most `target`, however coarsely the container seeks.

        Returns:
            False when the only such place is the beginning, where the file now stands.
        """
        place, step = target, round(1 / self.seconds_per_tick)
        while place >= (self.stream.start_time or 0):
            with contextlib.suppress(av.FFmpegError):
                self.container.seek(place, stream=self.stream)
                if self._next_key() <= target:
                    self.container.seek(place, stream=self.stream)
                    return True
            place, step = place - step, 2 * step
        self.restart()
        return False

    def _next_key(self) -> float:
        for packet in self.packets():
            if packet.is_keyframe and packet.pts is not None:
                return float(packet.pts)
        return math.inf


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file in it")
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file; copy what it gives into one")
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    if empty:
        raise InputError(f"{path} is empty; fetch it again")


def ends_early(path: Path, container_format: str) -> bool:
    """Whether a file is shorter than its own structure says.

    MP4 and QuickTime consist of boxes that state their sizes, a Matroska segment and a wav file
    state their own, and a GIF ends in a semicolon. Of other formats nothing is known, and a
    Matroska file of unknown size (a live recording) is taken as it is.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if container_format == "mov":
            place, box = 0, b""
            while place <= size - 8:
                file.seek(place)
                head = file.read(16)
                place, box = place + _box_size(head, size - place), head[4:8]
            return place > size and box in MEDIA_BOXES  # cameras append all sorts of other things
        if container_format == "matroska":
            head = file.read(4096)
            at = head.find(b"\x18\x53\x80\x67") + 4  # the identity of a segment, then its size
            return at > 3 and at < len(head) and _segment_end(head, at) > size
        if container_format == "wav":
            riff = int.from_bytes(file.read(8)[4:], "little")
            return riff not in (0, 2**32 - 1) and riff + 8 > size  # those say: unknown
        if container_format == "gif":
            file.seek(max(size - 64, 0))
            return not file.read().rstrip(b"\0").endswith(b";")
    return False


def _box_size(head: bytes, rest: int) -> int:
    """Size of an ISO 14496-12 box: 32 bits, or 1 and 64 bits later on, or 0: to the end."""
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        size = int.from_bytes(head[8:16], "big")
    return max(size, 8) if size else rest


def _segment_end(head: bytes, at: int) -> int:
    """Where a Matroska segment ends; 0 when it does not say (RFC 8794, section 4)."""
    length = 9 - head[at].bit_length()
    ones = (1 << 7 * length) - 1
    size = int.from_bytes(head[at : at + length], "big") & ones
    return 0 if size == ones else at + length + size


def check_room(path: Path, what: str, num_bytes: float) -> None:
    """Raises InputError when a result would need more than `MAX_BYTES`."""
    if num_bytes > MAX_BYTES:
        raise InputError(
            f"{path} would give {num_bytes / 1e9:.1f} GB of {what}, more than "
            f"{MAX_BYTES / 1e9:g} GB; "
            "give start_seconds and stop_seconds, a lower fps or a smaller size, or use "
            "kinema.media.stream"
        )


def allocate(path: Path, what: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Zeros for a result.

    Raises:
        InputError: it would need more than `MAX_BYTES`, or more than there is.
    """
    num_bytes = math.prod(shape) * float(np.dtype(dtype).itemsize)
    check_room(path, what, num_bytes)
    try:
        return np.zeros(shape, dtype)
    except MemoryError as error:
        raise InputError(
            f"{path} would give {num_bytes / 1e9:.1f} GB of {what}, for which no memory is left; "
            "read less at a time"
        ) from error
