"""The installer, run as a user runs it."""
