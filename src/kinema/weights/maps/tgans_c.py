"""Key maps of `kinema.networks.tgans_c`: the names of the re-implementation txt2vid.

Its generator and its caption encoder have our names. Its critics are four modules; together they
are named after these: ``video``, ``framemap``, ``frame``, ``motion``. Verified: every tensor, both
ways.
"""

from __future__ import annotations

from kinema.weights.keymap import KeyMap, Rename

CRITICS = KeyMap(
    Rename("framemap.frame_map.*", "frame_map.*"),
    Rename("video.x_map.*", "video.features.*"),
    Rename("video.cond_map.*", "video.judge.sentence.*"),
    Rename("video.pred.*", "video.judge.scores.*"),
    Rename("frame.frame_map.*", "frame.features.*"),
    Rename("frame.sent_map.*", "frame.judge.sentence.*"),
    Rename("frame.predictor.*", "frame.judge.scores.*"),
    Rename("motion.motion_map.*", "motion.features.*"),
    Rename("motion.sent_map.*", "motion.judge.sentence.*"),
    Rename("motion.predictor.*", "motion.judge.scores.*"),
)
