"""When a download is tried again."""

from __future__ import annotations

import ssl
import threading

import pytest

from appliance.downloads.retry import BusyError, EndedError, Patience, Retry, asked_wait_s, check_status
from appliance.errors import ApplianceError

NOW = 1_700_000_000.0
QUICK = Patience(tries=3, first_wait_s=0.0, longest_asked_s=60.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
def test_a_server_may_ask_for_a_wait_in_two_ways(value: str | None, seconds: float | None) -> None:
    assert asked_wait_s(value, NOW) == seconds


@pytest.mark.parametrize("status", [200, 206])
def test_an_answer_with_content_passes(status: int) -> None:
    check_status(status, None, "hub")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_no_failure_yet(status: int) -> None:
    with pytest.raises(BusyError) as caught:
        check_status(status, "7", "hub")
    assert caught.value.after_s == 7


@pytest.mark.parametrize(
    ("status", "code"), [(401, "source-refused"), (410, "source-refused"), (302, "download-failed")]
)
def test_what_will_not_pass_is_told(status: int, code: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        check_status(status, None, "hub")
    assert caught.value.code == code


def test_failures_count_in_a_row_and_bytes_begin_a_new_one() -> None:
    retry = Retry(QUICK, "hub", threading.Event())
    for _ in range(5):
        retry.wait(ConnectionError("cut"))
        retry.wait(ConnectionError("cut"))
        retry.progress()
    retry.wait(ConnectionError("cut"))
    retry.wait(ConnectionError("cut"))
    with pytest.raises(ApplianceError, match="cut"):
        retry.wait(ConnectionError("cut"))


def test_a_long_wait_is_left_to_the_admin() -> None:
    with pytest.raises(ApplianceError, match="come back in 1 min 1 s"):
        Retry(QUICK, "hub", threading.Event()).wait(BusyError(429, 61.0))


def test_a_certificate_that_nobody_vouches_for_does_not_become_better() -> None:
    with pytest.raises(ApplianceError, match="self-signed"):
        Retry(QUICK, "hub", threading.Event()).wait(ssl.SSLCertVerificationError("self-signed"))


def test_who_is_told_to_stop_does_not_wait() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(EndedError):
        Retry(Patience(first_wait_s=600), "hub", stop).wait(ConnectionError())
