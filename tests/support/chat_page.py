"""A chat page of a test's own, and somebody who uses it over HTTP, as a browser would without showing anything."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.box import free_port
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, Said, SignOn


@dataclass
class ChatPage:
    """The chat page of a box with sign-on."""

    sign_on: SignOn
    port: int = field(default_factory=free_port)

    @property
    def origin(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> str:
        """Its part of the settings file, and that of sign-on."""
        return f"{self.sign_on.settings}[chat]\nenabled = true\nport = {self.port}\n"

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Said:
        """One request as it stands, of JSON or bytes: nothing is followed, nothing is kept."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body)
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            found = response.getheaders()
            return Said(
                response.status,
                {name.lower(): value for name, value in found},
                response.read(),
                [value for name, value in found if name.lower() == "set-cookie"],
            )
        finally:
            connection.close()


@dataclass
class Visitor:
    """Somebody at the chat page. `token` is what the page knows their browser by, once they are in."""

    page: ChatPage
    browser: Browser
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """What the page's scripts send."""
        return self.cookies["token"]

    def enters(self, email: str, password: str = PASSWORD) -> Said:
        """Sign in by way of sign-on; the page's answer to coming back."""
        first = self._get("/oauth/oidc/login")
        said = self.browser.sign_in(email, password, at=path_of(first.location))
        back = self.browser.ask("GET", said.location)
        return self._get(path_of(back.location))

    def _get(self, path: str) -> Said:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        said = self.page.ask("GET", path, headers={"Cookie": cookie} if cookie else {})
        for one in said.cookies:
            name, _, value = one.partition(";")[0].partition("=")
            self.cookies[name] = value
        return said

    def sends(self, method: str, path: str, body: Any = None) -> Said:
        """One request of the page's scripts."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return self.page.ask(method, path, body, {"Authorization": f"Bearer {self.token}", "Cookie": cookie})

    def uploads(self, name: str, content: str | bytes, kind: str = "text/plain") -> str:
        """The id of a document that was put there and taken in."""
        mark = "a-boundary-of-a-test"
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {kind}'
        data = content.encode() if isinstance(content, str) else content
        body = f"{head}\r\n\r\n".encode() + data + f"\r\n--{mark}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={mark}", "Authorization": f"Bearer {self.token}"}
        said = self.page.ask("POST", "/api/v1/files/?process=true&process_in_background=false", body, headers)
        assert said.status == 200, said.text
        return str(said.json["id"])

    def finds(self, question: str, *collections: str) -> Said:
        """What the page says to a search in collections of documents."""
        asked = {"collection_names": collections, "query": question, "k": 5}
        return self.sends("POST", "/api/v1/retrieval/query/collection", asked)

    def reads(self, question: str, **more: Any) -> Iterator[str]:
        """The pieces of an answer as they come."""
        for event in self.events(question, **more):
            for choice in event.get("choices", ()):
                yield choice["delta"].get("content") or ""

    def events(self, question: str, **more: Any) -> Iterator[dict[str, Any]]:
        """All that comes with an answer: its pieces, and the sources that it was made from."""
        body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": question}], **more}
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}", "Cookie": cookie}
        connection = http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=120)
        try:
            connection.request("POST", "/api/chat/completions", json.dumps(body), headers)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            for line in response:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
        finally:
            connection.close()


def path_of(address: str) -> str:
    """An address without where it is."""
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
