"""One small experiment for each claim of a paper, with its baseline, and what came of it."""
