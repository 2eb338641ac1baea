"""How hypothesis works here: enough cases to matter, and no time limits on a busy machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
