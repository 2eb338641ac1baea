"""Model files: fetched, verified, and kept on a shelf by their hash."""
