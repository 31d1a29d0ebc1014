"""Files <-> clips and sound; contact sheets."""

from kinema.media.reading import MediaInfo, probe, read_clip, read_frames, stream
from kinema.media.sheets import contact_sheet, write_contact_sheet
from kinema.media.sound import read_sound, write_wav
from kinema.media.writing import Mp4Writer, write_clip, write_gif, write_mp4

__all__ = [
    "MediaInfo",
    "Mp4Writer",
    "contact_sheet",
    "probe",
    "read_clip",
    "read_frames",
    "read_sound",
    "stream",
    "write_clip",
    "write_contact_sheet",
    "write_gif",
    "write_mp4",
    "write_wav",
]
