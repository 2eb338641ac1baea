"""What the model hub says about a file, through its own library: HF_ENDPOINT, tokens and proxies apply."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from appliance.downloads.retry import TRANSIENT, Patience, Retry, check_status
from appliance.downloads.web import Remote
from appliance.errors import ApplianceError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# The library waits for ever by default.
_TIMEOUT_S = 30.0
_PATIENCE = Patience(tries=4)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of the hub. An empty `revision` is the newest; only 40 hexadecimal digits stand still."""

    repo: str
    revision: str
    file: str

    @property
    def is_pinned(self) -> bool:
        """Whether the revision can never mean another file."""
        return _COMMIT.fullmatch(self.revision) is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub says: the commit, the size in bytes (0: it does not say) and the SHA-256 (`""`: neither)."""

    commit: str
    size: int
    sha256: str


def remote(wanted: HubFile) -> Remote:
    """The file's address, with the token if there is one."""
    from huggingface_hub import get_token, hf_hub_url

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Remote(hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision or None), headers)


def head(wanted: HubFile) -> Answer:
    """What the hub answers for the file itself. Raises source-unreachable or source-refused."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision or None)
    said = _ask(wanted, lambda: get_hf_file_metadata(url, timeout=_TIMEOUT_S))
    # A small file's ETag is a git hash, which says nothing about its bytes that we could check.
    sha256 = said.etag if said.etag and _SHA256.fullmatch(said.etag) else ""
    return Answer(said.commit_hash or "", said.size or 0, sha256)


def resolve(wanted: HubFile) -> Answer:
    """Commit, size and SHA-256, asked for in two ways. Raises as `head`, and wrong-hash when they disagree."""
    from huggingface_hub import HfApi, RepoFile

    first = head(wanted)
    commit = first.commit if _COMMIT.fullmatch(first.commit) else _commit(wanted)
    found = _ask(wanted, lambda: HfApi().get_paths_info(wanted.repo, [wanted.file], revision=commit))
    listed = [entry for entry in found if isinstance(entry, RepoFile) and entry.path == wanted.file]
    if not listed:
        raise ApplianceError(
            "source-refused", f"{wanted.repo} has no file {wanted.file}.", "Look there what has become of it."
        )
    lfs = listed[0].lfs
    stated = Answer(commit, lfs.size if lfs else listed[0].size, lfs.sha256 if lfs else "")
    for ours, theirs in ((stated.size, first.size), (stated.sha256, first.sha256)):
        if ours and theirs and ours != theirs:
            raise ApplianceError(
                "wrong-hash",
                f"The hub contradicts itself about {wanted.file}: {ours} in its list, {theirs} at the file.",
                "Do not use this hub or mirror until it is explained.",
            )
    return Answer(commit, stated.size or first.size, stated.sha256 or first.sha256)


def _commit(wanted: HubFile) -> str:
    from huggingface_hub import HfApi

    found = _ask(wanted, lambda: HfApi().model_info(wanted.repo, revision=wanted.revision or None))
    return found.sha or ""


def _ask(wanted: HubFile, question: Callable[[], T]) -> T:
    """Ask until there is an answer, a few times at most: the library's own retries wait as long as a server likes."""
    from huggingface_hub import constants, get_session

    # Else each first request of a process also asks the hub for a list of AI agents, and leaves it in the home folder.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    retry = Retry(_PATIENCE, "The model hub", threading.Event())
    while True:
        get_session().timeout = _TIMEOUT_S
        try:
            with _explained(wanted):
                return question()
        except TRANSIENT as error:
            retry.wait(error)


@contextmanager
def _explained(wanted: HubFile) -> Iterator[None]:
    """Say in our words what the hub's library raises; what may pass, as one of `TRANSIENT`."""
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            raise ApplianceError(
                "source-refused",
                f"The hub does not have {wanted.repo}/{wanted.file}, or does not let us have it (it answers {status}).",
                "Check the name; accept the model's terms there if it has any, and set HF_TOKEN.",
            ) from error
        check_status(status, error.response.headers.get("retry-after"), "The model hub")
    except TransportError as error:
        raise ConnectionError(str(error)) from error
    except HFValidationError as error:
        raise ApplianceError(
            "source-not-allowed", f"'{wanted.repo}' is no name of a repository.", "Correct the model's source."
        ) from error
    except OfflineModeIsEnabled as error:
        raise ApplianceError(
            "source-unreachable", "HF_HUB_OFFLINE forbids to ask the model hub.", "Unset it, or use another source."
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise ApplianceError(
            "source-unreachable",
            "What answers in the hub's place is not a model hub.",
            "Check HF_ENDPOINT and the proxy: a page to log in may stand in between.",
        ) from error
