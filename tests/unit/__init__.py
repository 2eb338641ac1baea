"""Pure code, tested as values."""
