"""The one error type, and the table of every failure that a person can meet.

A code is a promise: scripts match on it, so it never changes its meaning. Each row of
`KINDS` says how the failure leaves a process (`exit`), how it leaves the gateway (`http`,
0 where it never does) and what it means. `docs/reference/errors.md` is generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FAILED: Final = 1
WRONG_USE: Final = 2
MACHINE_CANNOT: Final = 3
NEEDS_A_YES: Final = 4
UNDONE: Final = 5
BUG: Final = 70
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of failure shows: exit code, HTTP status and OpenAI error type, meaning."""

    exit: int
    http: int
    type: str
    meaning: str


def _cli(meaning: str, exit: int = FAILED) -> Kind:
    return Kind(exit, 0, "", meaning)


def _http(status: int, type: str, meaning: str) -> Kind:
    return Kind(FAILED, status, type, meaning)


_BAD_REQUEST: Final = "invalid_request_error"
_SERVER: Final = "server_error"
_NOT_ALLOWED: Final = "permission_error"

KINDS: Final[dict[str, Kind]] = {
    # The machine, as the installer finds it (raised by installer/install.sh).
    "os-unsupported": _cli("The operating system is not Debian 12+ or Ubuntu 22.04+", MACHINE_CANNOT),
    "python-missing": _cli("No Python 3.11 or newer with venv", MACHINE_CANNOT),
    "cpu-too-old": _cli("The processor lacks instructions that the engine needs", MACHINE_CANNOT),
    "memory-too-small": _cli("Too little memory for even the trial model", MACHINE_CANNOT),
    "disk-too-small": _cli("Too little room on the disk", MACHINE_CANNOT),
    "no-compiler": _cli("No C and C++ compiler to build the engine with", MACHINE_CANNOT),
    "registry-unreachable": _cli("The package registry did not answer"),
    "prefix-not-writable": _cli("The folder to install into cannot be written"),
    "installer-running": _cli("Another installer works on the same folder"),
    # Settings and state.
    "config-unreadable": _cli("The settings file cannot be read or is not TOML", WRONG_USE),
    "config-unknown-key": _cli("The settings file has a key that does not exist", WRONG_USE),
    "config-bad-value": _cli("A setting has a value that it cannot have", WRONG_USE),
    "state-read-only": _cli("The state folder cannot be written"),
    "database-newer": _cli("The database was written by a newer version"),
    "database-broken": _cli("The database cannot be opened or upgraded"),
    "audit-broken": _cli("The audit log is not what was put on record"),
    "wrong-use": _cli("The command line is not right", WRONG_USE),
    "needs-yes": _cli("The command would destroy something and was not confirmed", NEEDS_A_YES),
    # Engine and models.
    "engine-build-failed": _cli("The engine did not compile"),
    "backend-impossible": _cli("This machine cannot make the build of the engine that was asked for", MACHINE_CANNOT),
    "engine-missing": _cli("The engine is not installed"),
    "download-failed": _cli("A download did not finish"),
    "wrong-hash": _cli("A downloaded file is not the one that was pinned"),
    "catalogue-bad": _cli("The catalogue of models, or what the admin added to it, has mistakes", WRONG_USE),
    "source-unreachable": _cli("The place that a model comes from does not answer"),
    "source-refused": _cli("The place that a model comes from does not have it, or does not let us have it"),
    "source-not-allowed": _cli("A model's address is of a kind that nothing is fetched from", WRONG_USE),
    "locks-unreadable": _cli("The file that says what models were settled on cannot be read"),
    "pull-running": _cli("Another pull of the same model is under way"),
    "model-in-use": _cli("The model's file is in use"),
    "model-unknown": _cli("No model of that name is in the catalogue", WRONG_USE),
    "model-too-large": _cli("The model needs more memory than this machine has", MACHINE_CANNOT),
    "tune-running": _cli("Another tuning of the same box is under way"),
    "no-room-to-tune": _cli("The memory that is free now does not hold another engine beside what runs"),
    "model-cannot-chat": _cli("The model that was chosen for chat is made for something else", WRONG_USE),
    "model-cannot-serve": _cli("The model that was chosen for search is made for something else", WRONG_USE),
    "model-missing": _cli("The model's file is not on the shelf"),
    "model-truncated": _cli("The model's file is shorter than it must be"),
    "model-not-gguf": _cli("The model's file is not a GGUF file that the engine can open"),
    "model-not-convertible": _cli("What a model is to be made from is not what the conversion expects"),
    # Hardware facts.
    "hardware-file-bad": _cli("The file does not hold hardware facts", WRONG_USE),
    # Processes.
    "port-taken": _cli("Another program listens on the port"),
    "port-not-allowed": _cli("The account may not listen on a port below 1024"),
    "needs-root": _cli("The appliance is a part of the system, and only root may see to it"),
    "already-serving": _cli("Another gateway works on the same state folder"),
    "process-failed": _cli("A process does not stay up"),
    "switch-failed": _cli("The model could not be exchanged; the old one serves as before"),
    "switch-refused": _cli("The new model runs, but not as planned; the old one serves as before"),
    "not-running": _cli("The appliance is not running"),
    "deployment-unreadable": _cli("The file that says what is served cannot be read"),
    "no-engine": _cli("There is no engine to send requests to"),
    # Keys, as the admin handles them.
    "key-not-found": _cli("No API key has that id", WRONG_USE),
    "secret-kept": _cli("A secret of the box cannot be replaced while it works", WRONG_USE),
    "not-suspended": _cli("The owner or the team is not suspended", WRONG_USE),
    # Sign-on.
    "client-not-found": _cli("No program of that name is registered for sign-on", WRONG_USE),
    "sign-on-off": _cli("Sign-on is not switched on in the settings"),
    "signing-keys-bad": _http(503, _SERVER, "The keys that sign-on signs with cannot be used"),
    "chat-secrets-bad": _http(503, _SERVER, "The secrets of the chat page cannot be used"),
    "chat-page-refused": _cli("The chat page does not delete what somebody kept there who was removed"),
    "chat-page-missing": _cli("The chat page is switched on, but not installed"),
    "chat-page-impossible": _cli("There is no Python that the chat page runs on", MACHINE_CANNOT),
    "program-refused": _http(400, _BAD_REQUEST, "A program asked sign-on for something that it may not have"),
    "form-not-ours": _http(403, _NOT_ALLOWED, "A form was not sent from a page of sign-on, or is too old"),
    "form-not-understood": _http(400, _BAD_REQUEST, "A request to sign-on is no form"),
    # On the company's network.
    "lan-insecure": _cli("Other machines could come without encryption", WRONG_USE),
    "lan-needs-owner": _cli("The box is to be on the network, and nobody owns it who can sign in"),
    "caddy-missing": _cli("HTTPS on the network needs Caddy, which is not installed", MACHINE_CANNOT),
    "avahi-missing": _cli("A name that ends in .local needs Avahi, which is not installed", MACHINE_CANNOT),
    "name-taken": _cli("Another machine on the network has the box's name"),
    "mdns-failed": _cli("The box's name cannot be made known on the network"),
    "ca-missing": _cli("There is no certificate for the box's name yet"),
    "ca-unreadable": _cli("The box's own certificate authority cannot be used"),
    # Backups.
    "backup-not-set-up": _cli("Nobody has said yet where backups go", WRONG_USE),
    "backup-tool-missing": _cli("The program that keeps the backups, restic, is not installed", MACHINE_CANNOT),
    "backup-running": _cli("Another backup or restore is under way"),
    "backup-wrong-key": _cli("The recovery key is not that of the backups", WRONG_USE),
    "backup-not-found": _cli("There is no such backup, or none at all"),
    "backup-unreachable": _cli("The place of the backups cannot be reached or written"),
    "backup-damaged": _cli("The backups are damaged"),
    "backup-failed": _cli("The program that keeps the backups failed"),
    "drill-failed": _cli("A backup was restored, but the box does not work with it"),
    "restore-running": _cli("What is to be replaced is still running", WRONG_USE),
    # Updates.
    "updating": _http(503, _SERVER, "The appliance is being updated"),
    "update-unavailable": _cli("The code that runs was not put where it is by the installer"),
    "update-no-keys": _cli("Fewer keys are trusted than must have signed a release", WRONG_USE),
    "update-not-signed": _cli("Too few of the trusted keys have signed the release"),
    "update-refused": _cli("The release may not be installed here: too old, expired, or not for this version"),
    "update-damaged": _cli("The release's files are not those that were signed"),
    "update-unreachable": _cli("No release can be had from there"),
    "update-not-ready": _cli("The appliance is not in a state to be updated"),
    "update-failed": _cli("The update failed before anything that runs was touched"),
    "update-undone": _cli("The update failed, and everything is as it was before it", UNDONE),
    "update-stuck": _cli("The update failed, and the version of before does not start"),
    "update-nothing-before": _cli("There is no update to go back from"),
    # People, as the admin handles them and as they sign in.
    "person-not-found": _cli("Nobody with an account has that address, login or id", WRONG_USE),
    "person-exists": _cli("Somebody has that address or login already", WRONG_USE),
    "group-not-found": _cli("There is no group of that name", WRONG_USE),
    "group-exists": _cli("There is a group of that name already", WRONG_USE),
    "last-owner": _cli("Nobody would be left who owns the appliance and can sign in"),
    "mail-failed": _cli("The mail server did not take a mail"),
    "owner-exists": _cli("Somebody owns the appliance already, so there is no first owner to be"),
    "import-refused": _cli("A list of people has lines that are not right, so nobody on it was added", WRONG_USE),
    "password-refused": _cli("The password is too short, or too easy to guess", WRONG_USE),
    "link-refused": _cli("The one-time link is unknown, was used or has expired"),
    "sign-in-expired": _http(
        403, _NOT_ALLOWED, "A sign-in with another provider took too long, or is another browser's"
    ),
    "provider-unreachable": _http(503, _SERVER, "The provider that people sign in with does not answer"),
    "provider-refused": _http(502, _SERVER, "The answer of the provider that people sign in with is not to be trusted"),
    "provider-secret-bad": _http(503, _SERVER, "Our secret at the provider that people sign in with cannot be used"),
    "provider-not-found": _cli("No provider of that name is in the settings", WRONG_USE),
    "directory-unreachable": _http(503, _SERVER, "The company's directory does not answer, or not as it must"),
    "directory-refused": _http(503, _SERVER, "The company's directory does not let us look people up"),
    "account-not-vouched": _http(403, _NOT_ALLOWED, "No account here goes with the one at another provider"),
    "sign-in-refused": _cli("Address, password or code is not right"),
    # Budgets, as the admin handles them.
    "budget-not-found": _cli("No budget is set there", WRONG_USE),
    # The gateway's answers.
    "key-missing": _http(401, "authentication_error", "The request carries no API key"),
    "key-refused": _http(401, "authentication_error", "The API key is unknown or revoked"),
    "key-expired": _http(401, "authentication_error", "The API key has expired"),
    "suspended": _http(403, _NOT_ALLOWED, "The owner of the API key, or the team, is suspended"),
    "address-not-allowed": _http(403, _NOT_ALLOWED, "The API key may not be used from this address"),
    "endpoint-not-allowed": _http(403, _NOT_ALLOWED, "The API key is not for this endpoint"),
    "model-not-allowed": _http(403, _NOT_ALLOWED, "The API key is not for this model"),
    "body-not-json": _http(400, _BAD_REQUEST, "The request body is not a JSON object"),
    "body-too-complex": _http(400, _BAD_REQUEST, "The request body has too many values"),
    "body-too-large": _http(413, _BAD_REQUEST, "The request body is over the limit"),
    "field-unknown": _http(400, _BAD_REQUEST, "The request has a field that is not supported"),
    "field-missing": _http(400, _BAD_REQUEST, "The request lacks a field that it must have"),
    "field-bad-value": _http(400, _BAD_REQUEST, "A request field has a value outside its range"),
    "model-not-found": _http(404, _BAD_REQUEST, "No model of that name is served here"),
    "model-wrong-kind": _http(400, _BAD_REQUEST, "The model is made for another kind of request"),
    "engine-cannot-count": _http(400, _BAD_REQUEST, "The model's engine does not count tokens ahead of an answer"),
    "context-too-long": _http(400, _BAD_REQUEST, "The conversation is longer than the model's context"),
    "engine-refused": _http(400, _BAD_REQUEST, "The engine did not accept the request"),
    "form-unreadable": _http(400, _BAD_REQUEST, "The request body is not a form with a file"),
    "file-not-found": _http(404, _BAD_REQUEST, "You have no file of that id"),
    "file-in-use": _http(409, _BAD_REQUEST, "A batch that has not ended reads the file"),
    "batch-not-found": _http(404, _BAD_REQUEST, "You have no batch of that id"),
    "batch-ended": _http(409, _BAD_REQUEST, "The batch has ended, so it cannot be cancelled"),
    "too-many-requests": _http(429, "rate_limit_error", "The key has too many requests under way at once"),
    "queue-full": _http(503, _SERVER, "As many requests wait for the model as may"),
    "queue-timeout": _http(503, _SERVER, "The request waited for the model until its deadline"),
    "rate-limited": _http(429, "rate_limit_error", "A limit is reached for the moment: soon there is room again"),
    "budget-exhausted": _http(429, "insufficient_quota", "A budget is used up"),
    "budget-too-small": _http(429, "insufficient_quota", "A whole budget is too small for the request"),
    "budgets-unreadable": _http(503, _SERVER, "The budgets cannot be read, so nothing is answered"),
    "engine-unavailable": _http(503, _SERVER, "The model's engine does not answer"),
    "engine-stopped": _http(502, _SERVER, "The model's engine stopped in mid-answer"),
    "engine-failed": _http(502, _SERVER, "The model's engine reported a failure"),
    "cloud-off": _http(403, _NOT_ALLOWED, "Models of the cloud are switched off"),
    "cloud-not-allowed": _http(403, _NOT_ALLOWED, "This request must not leave the box for a model of the cloud"),
    "cloud-no-price": _http(403, _NOT_ALLOWED, "A model of the cloud has no price for today, so it cannot be capped"),
    "cloud-refused": _http(400, _BAD_REQUEST, "The cloud provider did not accept the request"),
    "cloud-limit": _http(429, "rate_limit_error", "The cloud provider's own limit is reached"),
    "cloud-key-missing": _http(502, _SERVER, "There is no usable key for the cloud provider"),
    "cloud-key-refused": _http(502, _SERVER, "The cloud provider does not accept our key"),
    "cloud-unavailable": _http(503, _SERVER, "The cloud provider does not answer"),
    "cloud-failed": _http(502, _SERVER, "The cloud provider's answer broke off or was none"),
    "disk-full": _http(503, _SERVER, "The disk is full, so the answer could not be put on record"),
    "audit-unavailable": _http(503, _SERVER, "The audit log cannot be written, so nothing is done that must be on it"),
    "ledger-unavailable": _http(503, _SERVER, "The ledger cannot be written"),
    "route-not-found": _http(404, _BAD_REQUEST, "There is no such address"),
    "method-not-allowed": _http(405, _BAD_REQUEST, "The address does not take this method"),
    "internal": _http(500, _SERVER, "A bug of the appliance"),
}


class ApplianceError(Exception):
    """A failure that a person can meet and mend.

    `code` is a key of `KINDS`; `sentence` says what happened, `hint` the one next step;
    `param` names the request field at fault; `retry_after_s` tells an HTTP client when
    to come again, and `headers` are more that its answer carries.
    """

    def __init__(
        self,
        code: str,
        sentence: str,
        hint: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(sentence)
        self.kind = KINDS[code]
        self.code = code
        self.sentence = sentence
        self.hint = hint
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers = headers

    def to_json(self) -> dict[str, str]:
        """The `--json` form: code, sentence and hint."""
        return {"code": self.code, "message": self.sentence, "hint": self.hint}
