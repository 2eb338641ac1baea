"""Links by mail: they go out encrypted, and none is lost where the mail server does not take it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import Box, free_port
from tests.support.mail_server import PASSWORD, USER, MailServer, mail_server

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path, free_port()) as running:
        yield running


@pytest.fixture
def mailing(box: Box, server: MailServer) -> Box:
    """A box that sends mail by the server."""
    configure(box, server)
    return box


def configure(box: Box, server: MailServer, password: str = PASSWORD, more: str = "") -> None:
    """Have a box send mail by a server."""
    file = box.folder / "mail-password"
    file.write_text(password)
    file.chmod(0o600)
    box.configure(
        "[identity]\nenabled = true\n"
        f'[mail]\nserver = "127.0.0.1"\nport = {server.port}\nsender = "{USER}"\n'
        f'user = "{USER}"\npassword_file = "{file}"\n{more}'
    )


def trusting(server: MailServer) -> dict[str, str]:
    """The environment in which a server's certificate is good."""
    return {"SSL_CERT_FILE": str(server.certificate)}


def test_an_invitation_goes_out_by_mail_and_is_not_shown(mailing: Box, server: MailServer) -> None:
    words = ("users", "invite", "joerg@example.com", "--name", "Jörg Müller")
    done = mailing.run(*words, env=trusting(server))
    assert done.stdout == ""
    assert "A mail with the link is on its way to Jörg Müller <joerg@example.com>. It works once, until" in done.stderr
    ((message, encrypted),) = server.came
    assert encrypted
    assert str(message["to"]) == "Jörg Müller <joerg@example.com>"
    assert (message["from"], message["subject"]) == (USER, "Your access to the company AI")
    text = message.get_content()
    assert text.strip().startswith("Hello Jörg Müller,")
    assert [line for line in text.splitlines() if re.fullmatch(r"http://127\.0\.0\.1:\d+/welcome/\S{43}", line)]


def test_a_link_for_a_new_password_is_in_the_language_of_the_settings(box: Box, server: MailServer) -> None:
    configure(box, server, more='language = "de"\n')
    box.run("users", "add", "anna@example.com")
    found = box.document("users", "reset", "anna@example.com", env=trusting(server))
    assert (found["mailed"], found["mail_problem"]) == (True, None)
    ((message, _),) = server.came
    assert message["subject"] == "Ein neues Passwort für die KI der Firma"
    assert found["link"] in message.get_content()


def test_who_asks_for_the_link_itself_gets_it(mailing: Box, server: MailServer) -> None:
    shown = mailing.run("users", "invite", "ben@example.com", "--no-mail", env=trusting(server))
    assert "/welcome/" in shown.stdout
    assert server.came == []


def test_while_sign_on_is_off_nothing_is_mailed(box: Box, server: MailServer) -> None:
    configure(box, server)
    box.config.write_text(box.config.read_text().replace("enabled = true", "enabled = false"))
    found = box.document("users", "invite", "dora@example.com", env=trusting(server))
    assert (found["mailed"], found["mail_problem"]["code"]) == (False, "sign-on-off")
    assert server.came == []


@pytest.mark.parametrize("trouble", ["certificate", "password", "mailbox", "secret", "gone"])
def test_a_link_that_could_not_be_mailed_is_shown(box: Box, server: MailServer, trouble: str) -> None:
    there = replace(server, port=free_port()) if trouble == "gone" else server
    configure(box, there, password="wrong-one" if trouble == "password" else PASSWORD)
    if trouble == "secret":
        (box.folder / "mail-password").chmod(0o644)
    env = {} if trouble == "certificate" else trusting(server)
    name = "nobody" if trouble == "mailbox" else "carla"
    said: dict[str, Any] = {
        "certificate": "certificate verify failed",
        "password": "did not take the mail: 535 ",
        "mailbox": "it does not take mail for nobody@example.com: 550 5.1.1 There is no such mailbox",
        "secret": "others can read its file",
        "gone": "Connection refused",
    }
    found = box.document("users", "invite", f"{name}@example.com", env=env)
    assert not found["mailed"]
    problem = found["mail_problem"]
    assert problem["code"] == "mail-failed"
    assert said[trouble] in problem["message"]
    assert problem["hint"] == "Mend [mail] in the settings, or send the link yourself."
    assert "/welcome/" in found["link"]
    assert PASSWORD not in str(found)
    assert server.came == []
    shown = box.run("users", "invite", f"{name}@example.com", env=env)
    assert "/welcome/" in shown.stdout
    assert said[trouble] in shown.stderr
