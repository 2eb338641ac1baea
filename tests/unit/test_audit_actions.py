"""What may be on the audit log, and how it reads."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.actions import KINDS, LONGEST, Action, facts_text, plain, sentence


def test_every_action_is_in_the_table_and_its_sentence_names_only_its_own_facts() -> None:
    assert set(KINDS) == set(Action)
    for action, kind in KINDS.items():
        named = {name for _, name, _, _ in string.Formatter().parse(kind.sentence) if name}
        assert named <= {*kind.facts, "actor", "target"}, action


def test_a_fact_that_its_action_does_not_have_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="has no fact 'prompt'"):
        facts_text(Action.CLOUD_SENT, {"prompt": "a secret"})
    for value in (1.5, ["x"], {"a": 1}, b"x", 2**63):
        with pytest.raises(ValueError, match="neither"):
            facts_text(Action.CLOUD_SENT, {"model": value})  # type: ignore[dict-item]


@given(st.text(max_size=400))
def test_a_text_is_kept_short_and_does_nothing_to_a_terminal(text: str) -> None:
    kept = plain(text)
    assert len(kept) == min(len(text), LONGEST)
    assert kept.isprintable()
    assert json.loads(facts_text(Action.DENIED, {"code": text, "count": 3})) == {"code": kept, "count": 3}


def test_an_event_reads_as_a_sentence() -> None:
    made = sentence("os:root", "key-created", "key-12", {"owner": "anna"})
    assert made == "anna's key key-12 was made by os:root"
    assert sentence("", "key-created", "key-12", {}) == "?'s key key-12 was made by somebody"
    refused = sentence("10.0.0.7", "denied", "chat", {"code": "key-refused", "count": 9, "since": "noon"})
    assert refused == "10.0.0.7 was refused chat (key-refused), 9 times since noon"
    assert sentence("ben", "of-a-later-version", "x", {}) == "of-a-later-version: x by ben"
