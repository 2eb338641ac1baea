"""What the chat page, sign-on and the gateway trust each other by: random, made once, kept in one private file."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic
from appliance.store.locks import turn

# The id under which `appliance up` registers the chat page for sign-on, and which no other program ever gets.
CHAT_PAGE: Final = "client-chat-page"


@dataclass(frozen=True, slots=True)
class ChatSecrets:
    """`client`: the page's own at sign-on. `service_key`: its key for embeddings. `user_header`: what it signs the
    name of whoever it asks them for with (HS256). `storage`: what it encrypts tokens of people with, so it belongs
    to a backup. `admin_password`: of its built-in account, which nobody signs in with.
    """

    client: str
    service_key: str
    user_header: str
    storage: str
    admin_password: str


def read(home: Home) -> ChatSecrets | None:
    """The secrets of an appliance; None where there is no chat page yet. Raises chat-secrets-bad."""
    return read_file(home.chat_secrets)


def read_file(file: Path) -> ChatSecrets | None:
    """The secrets in a file; None where there is none. Raises chat-secrets-bad."""
    try:
        data = json.loads(file.read_text())
        found = ChatSecrets(**data)
        if not all(isinstance(value, str) and len(value) >= 32 for value in data.values()):
            raise ValueError("a secret in it is too short")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ApplianceError(
            "chat-secrets-bad",
            f"The secrets of the chat page in {file} cannot be used: {error}.",
            "Restore the file from a backup, or remove it: then new ones are made, and everybody signs in anew.",
        ) from error
    return found


def made() -> ChatSecrets:
    """New secrets."""
    return ChatSecrets(**{field.name: secrets.token_urlsafe(32) for field in fields(ChatSecrets)})


def ensure(home: Home) -> ChatSecrets:
    """The secrets, made at the first use. Raises chat-secrets-bad."""
    with turn(home.run / "chat-secrets.lock"):
        found = read(home)
        if found is None:
            found = made()
            write_atomic(home.chat_secrets, json.dumps(asdict(found)).encode(), 0o600)
    return found
