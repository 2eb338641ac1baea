"""Keeps a list of processes up. Knows nothing of models or gateways."""
