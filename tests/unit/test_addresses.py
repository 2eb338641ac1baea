"""Networks as an admin writes them, and the addresses in them; Python's own ipaddress is the judge."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance.policy.addresses import Network, admits, network, networks

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)


@st.composite
def some_network(draw: st.DrawFn) -> Network:
    """A network around some address."""
    address = draw(st.one_of(V4, V6))
    return ipaddress.ip_network((address, draw(st.integers(0, address.max_prefixlen))), strict=False)


def mapped(address: IPv4Address | IPv6Address) -> IPv6Address:
    """An IPv4 address as a socket shows it that takes IPv6 too."""
    return IPv6Address((0xFFFF << 32) | int(address))


@given(some_network(), st.one_of(V4, V6))
def test_an_address_is_admitted_just_where_it_is_in_the_network(allowed: Network, address: object) -> None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    assert admits(networks(str(allowed)), str(address)) == (address in allowed)


@given(some_network(), st.data())
def test_every_address_of_a_network_is_admitted(allowed: Network, data: st.DataObject) -> None:
    first, last = int(allowed.network_address), int(allowed.broadcast_address)
    address = type(allowed.network_address)(data.draw(st.integers(first, last)))
    # One of IPv4 in a longer form is in none of IPv6.
    assume(getattr(address, "ipv4_mapped", None) is None)
    assert admits((network(str(allowed)),), str(address))


@given(st.lists(some_network(), max_size=4), st.one_of(V4, V6))
def test_one_network_of_several_is_enough_and_none_admits_nobody(allowed: list[Network], address: object) -> None:
    words = " ".join(map(str, allowed))
    assert admits(networks(words), str(address)) == any(admits((network(str(one)),), str(address)) for one in allowed)


@given(V4, st.integers(0, 32))
def test_an_ipv4_address_counts_as_itself_on_an_ipv6_socket_too(address: IPv4Address, length: int) -> None:
    plain = ipaddress.ip_network((address, length), strict=False)
    as_v6 = f"{mapped(plain.network_address)}/{96 + length}"
    assert network(as_v6) == plain
    assert admits((plain,), str(mapped(address)))


@given(st.text())
def test_what_is_no_address_is_never_admitted_and_no_text_breaks_it(text: str) -> None:
    everywhere = networks("0.0.0.0/0 ::/0")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        assert not admits(everywhere, text)
    with pytest.raises(ValueError, match=r"no IP address|at once|leave out"):
        network(f"{text}/999")


def test_an_address_of_a_link_with_its_interface_is_in_its_network() -> None:
    assert admits(networks("fe80::/10"), "fe80::1%eth0")
    assert not admits(networks("10.0.0.0/8 fd00::/8"), None)
    assert not admits(networks(""), "10.0.0.1")


def test_an_address_that_is_a_network_too_is_refused_with_both_spelled_out() -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.5 or 10\.0\.0\.0/8"):
        network("10.0.0.5/8")
    with pytest.raises(ValueError, match="leave out %"):
        network("fe80::%eth0/64")
