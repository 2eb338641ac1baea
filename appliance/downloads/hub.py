"""What the model hub says about a file, through its own library: HF_ENDPOINT, tokens and proxies apply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.downloads.web import Remote
from appliance.errors import ApplianceError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# The library waits for ever by default.
_TIMEOUT_S = 30.0


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
    with _explained(wanted):
        said = get_hf_file_metadata(url, timeout=_TIMEOUT_S, retry_on_errors=True)
    # A small file's ETag is a git hash, which says nothing about its bytes that we could check.
    sha256 = said.etag if said.etag and _SHA256.fullmatch(said.etag) else ""
    return Answer(said.commit_hash or "", said.size or 0, sha256)


def resolve(wanted: HubFile) -> Answer:
    """Commit, size and SHA-256, asked for in two ways. Raises as `head`, and wrong-hash when they disagree."""
    from huggingface_hub import HfApi, RepoFile, get_session

    get_session().timeout = _TIMEOUT_S
    first = head(wanted)
    commit = first.commit if _COMMIT.fullmatch(first.commit) else _commit(wanted)
    with _explained(wanted):
        found = HfApi().get_paths_info(wanted.repo, [wanted.file], revision=commit)
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

    with _explained(wanted):
        return HfApi().model_info(wanted.repo, revision=wanted.revision or None, timeout=_TIMEOUT_S).sha or ""


@contextmanager
def _explained(wanted: HubFile) -> Iterator[None]:
    """Say in our words what the hub's library raises."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except HFValidationError as error:
        raise ApplianceError(
            "source-not-allowed", f"'{wanted.repo}' is no name of a repository.", "Correct the model's source."
        ) from error
    except (HTTPError, OfflineModeIsEnabled, OSError, ValueError, LookupError, TypeError) as error:
        # The last three: an answer that is not the hub's, as of a login page that stands in between.
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
        if status in (401, 403, 404):
            raise ApplianceError(
                "source-refused",
                f"The hub does not have {wanted.repo}/{wanted.file}, or does not let us have it (it answers {status}).",
                "Check the name; accept the model's terms there if it has any, and set HF_TOKEN.",
            ) from error
        reason = f"it answers {status}" if status else str(error).partition("\n")[0] or type(error).__name__
        raise ApplianceError(
            "source-unreachable",
            f"The model hub does not answer as it should: {reason}.",
            "Check the network, the proxy and HF_ENDPOINT, then run it again.",
        ) from error
