"""Which of a machine's IPv6 addresses is made known."""

from __future__ import annotations

import pytest

from appliance.lan.naming import lasting_ipv6

LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo"
OF_THE_LINK = "fe800000000000000000000000000001 02 40 20 80     eth0"
ANOTHER_CARD = "20010db8000000000000000000000009 03 40 00 80     eth1"
PRIVATE = "fd000000000000000000000000000002 02 40 00 80     eth0"


def row(flags: str, scope: str = "00") -> str:
    """A line of Linux's table."""
    return f"20010db8000000000000000000000007 02 40 {scope} {flags}     eth0"


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ([LOOPBACK, OF_THE_LINK, ANOTHER_CARD, PRIVATE], "fd00::2"),
        ([LOOPBACK, OF_THE_LINK, ANOTHER_CARD], ""),
        # One of a random host part, which changes: the lasting one beside it is told.
        ([row("01"), PRIVATE], "fd00::2"),
        ([row("20"), PRIVATE], "fd00::2"),
        ([row("40"), PRIVATE], "fd00::2"),
        ([row("48"), PRIVATE], "fd00::2"),
        ([row("80"), PRIVATE], "2001:db8::7"),
        ([row("00", scope="20")], ""),
        (["what no kernel writes"], ""),
        ([], ""),
    ],
)
def test_an_address_that_lasts_and_that_others_can_use_is_told(table: list[str], found: str) -> None:
    assert lasting_ipv6("\n".join(table), "eth0") == found
