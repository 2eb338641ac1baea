"""Backups: a consistent copy of all state, kept encrypted by restic, and brought back."""
