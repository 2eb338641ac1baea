"""The chat page that staff use: Open WebUI, in an environment of its own, with settings that are made from ours."""
