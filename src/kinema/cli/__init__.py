"""The command line: `main.py` holds the frame, each other file a family of verbs.

Nothing heavy is imported before a verb needs it, so that `kinema --help` answers at once.
"""
