"""Answers in the shapes of other APIs, made from the engine's chat completions."""
