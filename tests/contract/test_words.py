"""What no committed file says: where packages come from is pip's business, and where we work is nobody's."""

from __future__ import annotations

import pytest

from tests.contract.tree import texts

# In pieces, so that this file does not say them either.
_HOSTS = [("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("crates", "io"), ("anaconda", "org")]
_OTHER_HOSTS = [("golang", "org"), ("rubygems", "org"), ("ghcr", "io"), ("docker", "io")]
_PLACES = [("/wo", "rk/"), ("shared/", "facts"), ("/tmp/", "lab"), ("shared/", "STYLE"), ("shared/", "DESIGN")]
_LIBRARY = [("/.lib", "rary")]


@pytest.mark.parametrize("host", [".".join(pieces) for pieces in [*_HOSTS, *_OTHER_HOSTS]])
def test_no_file_names_the_host_of_a_package_registry(host: str) -> None:
    """A company's mirror must be used without a change of ours."""
    assert [name for name, text in texts().items() if host in text] == []


@pytest.mark.parametrize("place", ["".join(pieces) for pieces in [*_PLACES, *_LIBRARY]])
def test_no_file_speaks_of_the_place_where_it_was_written(place: str) -> None:
    assert [name for name, text in texts().items() if place in text] == []
