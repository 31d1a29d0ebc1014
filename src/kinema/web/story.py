"""Stories: clips of several scenes, told by a model that goes on from what it has made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.cli.clips import Item, Maker
from kinema.cli.machine import versions
from kinema.clip import Clip
from kinema.config import to_dict
from kinema.errors import InputError
from kinema.processes.steps import Report
from kinema.systems.image_to_video import ImageToVideo
from kinema.web.limits import number
from kinema.web.studio import Studio
from kinema.web.worker import Ticket

SCENE_SECONDS = 2.0  # of a line that says nothing of it
SHORTEST = 0.1
ROOM_FOR_SECONDS = 99  # letters of a line beside its prompt
KEPT = ("model_sha256", "model_digest", "device", "dtype")


@dataclass(frozen=True)
class Scene:
    """A part of a story: what it shows and how long."""

    prompt: str
    seconds: float


@dataclass(frozen=True)
class Story:
    """Scenes, and the seed of the first pass; each pass takes the next."""

    scenes: list[Scene]
    seed: int

    @property
    def words(self) -> str:
        """All prompts, as a caption."""
        return " / ".join(scene.prompt for scene in self.scenes)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(scene.seconds for scene in self.scenes)

    def tell(self, maker: Maker, ticket: Ticket) -> tuple[Clip, list[Mapping[str, Any]]]:
        """The clip, and prompt, seed and new frames of each pass of the sampler.

        A pass makes as many frames as the model was trained on, the first of which are the last of
        the clip so far; what a scene has too many of is cut before the next one begins.
        """
        model, sampling = maker.model, maker.sampling
        assert isinstance(model, ImageToVideo)
        clip: Clip | None = None
        passes: list[Mapping[str, Any]] = []
        end = 0.0
        for scene in self.scenes:
            end += scene.seconds
            wanted = max(round(end * sampling.fps), 1)
            while clip is None or clip.num_frames < wanted:
                have, seed = clip.num_frames if clip else 0, self.seed + len(passes)
                told = self._told(ticket, scene, have, wanted, sampling)
                made = model.generate(
                    scene.prompt, seed=seed, extend=clip, sampling=sampling, callback=told
                )
                assert isinstance(made, Clip)
                clip = made[:wanted]
                new = clip.num_frames - have
                passes.append({"prompt": scene.prompt, "seed": seed, "frames": new})
        assert clip is not None
        return clip, passes

    def record(
        self, maker: Maker, passes: list[Mapping[str, Any]], *, seconds: float
    ) -> dict[str, Any]:
        """Everything that is needed to tell it again."""
        settings = maker.settings(self._item())
        return {
            "model": maker.name,
            **{name: settings[name] for name in KEPT},
            "story": [{"prompt": s.prompt, "seconds": s.seconds} for s in self.scenes],
            "seed": self.seed,
            "passes": passes,
            "sampling": to_dict(maker.sampling),
            "unknown_words": [
                word for s in self.scenes for word in maker.unknown_words(s.prompt, "")
            ],
            "seconds": round(seconds, 3),
            **versions(),
        }

    def _item(self) -> Item:
        return Item(prompt="", negative="", seed=self.seed, path=Path(), unknown_words=())

    def _told(
        self, ticket: Ticket, scene: Scene, have: int, wanted: int, sampling: Any
    ) -> Callable[[Report], None]:
        """Tells a ticket of each step: this pass brings the clip about one length further."""

        def told(report: Report) -> None:
            step = (report.step.index + 1) / report.step.total
            frames = have + step * min(sampling.num_frames, wanted - have)
            at = frames / sampling.fps
            ticket.advance(
                at / self.seconds, f"{scene.prompt} ({at:.1f} of {self.seconds:g} seconds)"
            )

        return told


def read_scenes(lines: Any, studio: Studio) -> list[Scene]:
    """The scenes in lines ``prompt | seconds``; a line without seconds lasts two.

    Raises:
        InputError: a line cannot be used, there is none, or they are too many or too long.
    """
    limits = studio.limits
    most = limits.lines * (limits.prompt_letters + ROOM_FOR_SECONDS)
    if not isinstance(lines, str) or len(lines) > most:
        raise InputError(f"the story must be text of at most {most} letters")
    written = [line for line in lines.splitlines() if line.strip()]
    if not written:
        raise InputError("the story is empty; write one scene in each line: prompt | seconds")
    if len(written) > limits.lines:
        raise InputError(f"{len(written)} scenes are too many; tell it in {limits.lines}")
    story = Story([_scene(line, studio) for line in written], seed=0)
    if story.seconds > limits.story_seconds:
        raise InputError(
            f"the story lasts {story.seconds:g} seconds; stay within {limits.story_seconds:g}"
        )
    return story.scenes


def _scene(line: str, studio: Studio) -> Scene:
    said, bar, after = line.rpartition("|")
    seconds = SCENE_SECONDS
    if bar:
        try:
            seconds = float(after)
        except ValueError:
            raise InputError(
                f"{after.strip()!r:.40} after the | is no number of seconds; write: prompt | 2"
            ) from None
    prompt = studio.limits.prompt(said if bar else line)
    studio.maker.unknown_words(prompt, "")  # says early that it cannot be read
    longest = studio.limits.story_seconds
    return Scene(prompt, number("the seconds of a scene", seconds, SHORTEST, longest))
