"""Sizes, instants and durations, as they are read and shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.units import (
    GIB,
    MIB,
    now_us,
    parse_bytes,
    parse_money,
    show_bytes,
    show_duration,
    show_instant,
    show_money,
    show_transfer,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0 B", 0), ("512B", 512), ("1 KiB", 1024), ("8 MiB", 8 * MIB), ("1.5 GiB", 3 * GIB // 2), (" 8  MiB ", 8 * MIB)],
)
def test_a_size_with_its_unit_becomes_bytes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "8", "8 MB", "8 mib", "-1 B", "1e3 B", "MiB", "8 MiB!", "1,5 GiB", "8 B\n8 B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)


@given(st.one_of(st.text(), st.from_regex(r"\d{1,500}(\.\d{1,500})? ?(B|GiB)", fullmatch=True)))
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        assert parse_bytes(text) >= 0
    except ValueError:
        return


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (94 * MIB, "94 MiB"),
        (3 * GIB // 2, "1.5 GiB"),
        (10 * GIB, "10 GiB"),
        (24 * GIB - GIB // 4, "23.8 GiB"),
        (512 * MIB + MIB // 2, "512 MiB"),
    ],
)
def test_a_size_is_shown_with_two_digits_at_least(size: int, shown: str) -> None:
    assert show_bytes(size) == shown


@given(st.integers(min_value=0, max_value=2**50))
def test_a_shown_size_is_right_within_a_twentieth(size: int) -> None:
    read_again = parse_bytes(show_bytes(size).replace("bytes", "B"))
    assert abs(read_again - size) <= size / 20


def test_an_instant_is_shown_in_utc_with_milliseconds() -> None:
    assert show_instant(1_700_000_000_123_456) == "2023-11-14T22:13:20.123Z"
    assert show_instant(0) == "1970-01-01T00:00:00.000Z"
    assert show_instant(None) is None


def test_now_is_in_microseconds() -> None:
    shown = show_instant(now_us())
    assert shown is not None
    assert 2020 < int(shown[:4]) < 2200


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (12.9, "12 s"), (302, "5 min 2 s"), (3600, "1 h 0 min"), (3 * 86_400 + 4 * 3600 + 59, "3 d 4 h")],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, shown: str) -> None:
    assert show_duration(seconds) == shown


@pytest.mark.parametrize(
    ("done", "total", "rate", "text"),
    [
        (3 * GIB, 6 * GIB, 96 * MIB, "3.0 GiB of 6.0 GiB, 96 MiB/s, 32 s left"),
        (3 * GIB, 6 * GIB, 0.0, "3.0 GiB of 6.0 GiB"),
        (6 * GIB, 6 * GIB, 96 * MIB, "6.0 GiB of 6.0 GiB"),
    ],
)
def test_a_transfer_shows_rate_and_time_left_as_far_as_they_are_known(
    done: int, total: int, rate: float, text: str
) -> None:
    assert show_transfer(done, total, rate) == text


@pytest.mark.parametrize(
    ("text", "micro", "shown"),
    [
        ("0", 0, "0.00"),
        ("200", 200_000_000, "200.00"),
        ("12.5", 12_500_000, "12.50"),
        ("0.05", 50_000, "0.05"),
        ("0.0031", 3_100, "0.003100"),
        ("1.000001", 1_000_001, "1.000001"),
        ("999999999.999999", 999_999_999_999_999, "999999999.999999"),
    ],
)
def test_an_amount_of_money_is_whole_micro_units(text: str, micro: int, shown: str) -> None:
    assert (parse_money(text), show_money(micro)) == (micro, shown)


@pytest.mark.parametrize(
    "text", ["", ".5", "5.", "1,5", "-1", "1e3", "1.1234567", "1 000", "\u0661", "5\n", "1234567890"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        parse_money(text)
