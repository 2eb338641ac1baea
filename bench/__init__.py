"""The load harness. See README.md."""
