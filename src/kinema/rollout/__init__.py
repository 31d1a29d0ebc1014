"""Long video: windows that go on from one another, and the story that they tell."""

from kinema.rollout.driver import Rollout, tell
from kinema.rollout.story import Segment, read_story

__all__ = ["Rollout", "Segment", "read_story", "tell"]
