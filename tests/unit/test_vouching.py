"""How long another source's word holds."""

from __future__ import annotations

from appliance.policy.directory import SOURCE
from appliance.policy.vouching import Ages

HOUR = 3_600_000_000


def test_a_providers_word_holds_for_its_hours_and_longer_while_it_does_not_answer() -> None:
    ages = Ages(provider_hours=12, grace_hours=24)
    assert ages.ends_at("https://login.example.com", 5, answers=True) == 5 + 12 * HOUR
    assert ages.ends_at("https://login.example.com", 5, answers=False) == 5 + 36 * HOUR


def test_the_directory_is_asked_all_the_time_so_only_its_silence_counts() -> None:
    ages = Ages(provider_hours=1, grace_hours=24)
    for answers in (True, False):
        assert ages.ends_at(SOURCE, 5, answers=answers) == 5 + 24 * HOUR
