"""Scores: functions of features or frames, in the authors' own numerics."""
