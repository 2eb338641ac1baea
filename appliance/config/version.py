"""The version of this code, known without an installation. A test holds it against pyproject.toml."""

VERSION = "0.1.0"
