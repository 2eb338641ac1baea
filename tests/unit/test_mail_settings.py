"""The settings of mail: nothing that would send a link in the open, or half of what is needed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from appliance.config.mail import MailSettings
from appliance.config.settings import Settings


def test_without_a_server_nothing_is_needed() -> None:
    assert Settings().mail.server is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"server": "mail.example.com"}, "needs `sender`"),
        ({"server": "mail.example.com", "sender": "ai@example.com", "user": "ai"}, "belong together"),
        ({"server": "mail.example.com", "sender": "ai@example.com", "password_file": "/x"}, "belong together"),
        (
            {"server": "mail.example.com", "sender": "ai@example.com", "security": "none"},
            "for a server on this machine",
        ),
        ({"server": "mail.example.com", "sender": "ai@example.com\nBcc: x@example.com"}, "string_pattern_mismatch"),
        ({"server": "mail.example.com/x", "sender": "ai@example.com"}, "string_pattern_mismatch"),
    ],
)
def test_half_of_it_or_an_open_way_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        MailSettings.model_validate(given)


def test_on_this_machine_a_relay_needs_no_encryption() -> None:
    made = MailSettings.model_validate(
        {"server": "localhost", "port": 25, "sender": "ai@example.com", "security": "none"}
    )
    assert made.user is None
