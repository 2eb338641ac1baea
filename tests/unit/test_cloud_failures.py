"""What a provider's refusals mean, and that its key is in none of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cloud.failures import Failures
from appliance.errors import ApplianceError

KEY = "sk-ant-0123456789"
FAILURES = Failures("far", KEY)


def said(kind: str, message: str = "no") -> bytes:
    """A refusal as the APIs write it."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "code", "http"),
    [
        (301, b"", "cloud-refused", 400),
        (307, b"", "cloud-refused", 400),
        (400, said("invalid_request_error"), "cloud-refused", 400),
        (400, said("invalid_request_error", "prompt is too long: 9 > 8"), "context-too-long", 400),
        (400, said("x", "This model's maximum context length is 8192 tokens"), "context-too-long", 400),
        (401, said("authentication_error"), "cloud-key-refused", 502),
        (402, said("billing_error"), "cloud-limit", 429),
        (403, said("permission_error"), "cloud-key-refused", 502),
        (404, said("not_found_error"), "cloud-refused", 400),
        (413, said("request_too_large"), "cloud-refused", 400),
        (429, said("rate_limit_error"), "cloud-limit", 429),
        (500, said("api_error"), "cloud-unavailable", 503),
        (502, b"<html>", "cloud-unavailable", 503),
        (529, said("overloaded_error"), "cloud-unavailable", 503),
    ],
)
def test_an_answer_that_is_none_has_its_code(status: int, body: bytes, code: str, http: int) -> None:
    error = FAILURES.answered(status, body, None)
    assert (error.code, error.kind.http) == (code, http)
    assert "'far'" in error.sentence or code == "context-too-long"


def test_when_to_come_again_is_passed_on() -> None:
    assert FAILURES.answered(429, b"", 17).retry_after_s == 17
    assert FAILURES.answered(503, b"", 17).retry_after_s == 17
    assert FAILURES.answered(429, b"", None).retry_after_s == 30


@given(st.integers(300, 599), st.text(max_size=20), st.text(max_size=20), st.sampled_from(["", "rate_limit_error"]))
def test_no_error_holds_the_key(status: int, before: str, after: str, kind: str) -> None:
    words = f"{before}{KEY}{after}"
    errors: list[ApplianceError] = [
        FAILURES.answered(status, said(kind, words), None),
        FAILURES.answered(status, words.encode("utf-8", "replace"), None),
        FAILURES.answered(status, json.dumps({"error": words}).encode(), None),
        FAILURES.reported({"error": {"message": words, "type": kind}}),
        FAILURES.unreachable(words),
        FAILURES.not_understood(words),
    ]
    for error in errors:
        assert KEY not in error.sentence + error.hint
        assert "\n" not in error.sentence
        assert len(error.sentence) < 700
    assert KEY not in repr(errors)


def test_a_key_does_not_show_where_values_are_shown() -> None:
    assert KEY not in repr(FAILURES)
    assert KEY not in str(FAILURES)
