"""Where things live. The only module that reads settings from the environment.

A `Home` is one installed appliance, or one that a script names with `--config` and
`--state`. Nothing outside these folders is ever written.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError

# A UNIX socket's path is at most 107 bytes on Linux (sockaddr_un.sun_path less the NUL).
_SOCKET_PATH_LIMIT = 107


@dataclass(frozen=True, slots=True)
class Home:
    """The settings file and the state folder of one appliance, and what lies where in it."""

    config: Path
    state: Path

    @property
    def local_models(self) -> Path:
        """The admin's own additions to the catalogue; usually missing."""
        return self.config.parent / "models.local.toml"

    @property
    def database(self) -> Path:
        return self.state / "appliance.db"

    @property
    def deployment(self) -> Path:
        return self.state / "deployment.json"

    @property
    def models(self) -> Path:
        return self.state / "models"

    @property
    def run(self) -> Path:
        """Sockets, locks and process lists: nothing here outlives a start."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def audit_key(self) -> Path:
        """The key that the audit log is chained with."""
        return self.state / "audit.key"

    @property
    def audit_anchor(self) -> Path:
        """How far the audit log goes."""
        return self.state / "audit.anchor"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def signing_keys(self) -> Path:
        """The keys that sign-on signs its tokens with."""
        return self.secrets / "signing-keys.json"

    @property
    def public_keys(self) -> Path:
        """Their public halves, by which the gateway knows such a token."""
        return self.state / "public-keys.json"

    @property
    def chat_secrets(self) -> Path:
        """What the chat page, sign-on and the gateway trust each other by."""
        return self.secrets / "chat.json"

    @property
    def chat(self) -> Path:
        """What the chat page keeps: conversations, documents and their index."""
        return self.state / "chat"

    @property
    def chat_environment(self) -> Path:
        """The environment variables of the chat page, its secrets among them."""
        return self.secrets / "chat-environment.json"

    @property
    def lan(self) -> Path:
        """What the box is known by on the network: its own certificate authority, and what Caddy keeps."""
        return self.state / "lan"

    @property
    def caddy(self) -> Path:
        """What Caddy is started with."""
        return self.run / "caddy.json"

    @property
    def files(self) -> Path:
        """What people uploaded, their batches, and the results."""
        return self.state / "files"

    @property
    def backup(self) -> Path:
        """What backups are put together in, and brought back to."""
        return self.state / "backup"

    @property
    def restoring(self) -> Path:
        """The journal of a restore, while one is under way."""
        return self.backup / "restoring.json"

    @property
    def backup_key(self) -> Path:
        """The recovery key of the backups."""
        return self.secrets / "backup.key"

    @property
    def update(self) -> Path:
        """What belongs to updates: their journal, their history, the copy of the state before the last one."""
        return self.state / "update"

    @property
    def maintenance(self) -> Path:
        """While this file is there, an update is under way and nobody is served."""
        return self.update / "doors-closed"

    @property
    def doctor(self) -> Path:
        """Since when the doctor has met what it finds."""
        return self.state / "doctor.json"

    @property
    def cloud_switch(self) -> Path:
        """While this file is there, nothing is sent to the cloud."""
        return self.state / "cloud-off"

    def socket(self, name: str) -> Path:
        """The UNIX socket of a process; in a private temporary folder where the path would be too long."""
        path = self.run / f"{name}.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
            return path
        digest = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"appliance-{os.getuid()}-{digest}" / f"{name}.sock"

    def prepare(self) -> None:
        """Make the state folders, readable by their owner only. Raises state-read-only."""
        try:
            for folder in (self.state, self.run, self.logs, self.secrets, self.models, self.files):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _private(self.socket("x").parent)
            # A file without a name, so that several who try at once do not meet.
            with tempfile.TemporaryFile(dir=self.run):
                pass
        except OSError as error:
            raise ApplianceError(
                "state-read-only",
                f"The state folder {self.state} cannot be written: {error.strerror or error}.",
                "Give this user the right to write there, or remount it writable.",
            ) from error


def _private(folder: Path) -> None:
    """Make a folder that only this user may enter; refuse one that somebody else prepared."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")


def find_home(config: Path | None, state: Path | None) -> Home:
    """The appliance that a command means: by option, else by environment, else by convention."""
    root = os.geteuid() == 0 and Path("/run/systemd/system").is_dir()
    user = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "appliance"
    default_config = Path("/etc/appliance/appliance.toml") if root else user / "etc/appliance.toml"
    default_state = Path("/var/lib/appliance") if root else user / "var"
    return Home(
        config=(config or Path(os.environ.get("APPLIANCE_CONFIG") or default_config)).absolute(),
        state=(state or Path(os.environ.get("APPLIANCE_STATE") or default_state)).absolute(),
    )


def account() -> str:
    """The account that this process runs as, and who became it by sudo, as sudo says: `root (sudo by anna)`."""
    try:
        # Root that works as the owner of the state is still root.
        name = pwd.getpwuid(os.getresuid()[2]).pw_name
    except KeyError:
        name = str(os.geteuid())
    before = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {before})" if before else name


# The variable by which an update lets the processes in that it starts.
UPDATE_WORD = "APPLIANCE_UPDATE"


def update_word() -> str | None:
    """The word of the update that this process is a part of; None for all others."""
    return os.environ.get(UPDATE_WORD)


def with_update_word(word: str) -> dict[str, str]:
    """The environment of a process that is a part of an update."""
    return {**os.environ, UPDATE_WORD: word}


def without_update_word() -> dict[str, str]:
    """The environment of a process that is no part of an update."""
    return {name: value for name, value in os.environ.items() if name != UPDATE_WORD}


def cache_folder() -> Path:
    """Where built engines, the chat page and downloads are kept: where the installer put them, or for this user."""
    named = os.environ.get("APPLIANCE_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "appliance"


def notify_socket() -> str:
    """Where systemd wants to be told how this service is; empty where nobody does."""
    return os.environ.get("NOTIFY_SOCKET") or ""


def without_notify_socket() -> None:
    """Have the program that this process becomes tell systemd nothing."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"):
        os.environ.pop(name, None)


def at_home(folder: str) -> None:
    """Have this process, and what it starts, take a folder for its user's own."""
    os.environ["HOME"] = folder


def credentials_folder() -> Path | None:
    """Where systemd puts the credentials of this service (`LoadCredential=`); None where it gives none."""
    named = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(named) if named else None


def toolkit_folders() -> tuple[Path, ...]:
    """Where the admin says that build tools and headers are, besides the system's folders; cmake reads the same."""
    named = (os.environ.get("CMAKE_PREFIX_PATH") or "").split(":")
    sdk = os.environ.get("VULKAN_SDK") or ""
    return tuple(Path(folder) for folder in [*named, sdk] if folder)
