"""Who may read what is kept: folders and secrets are for the box's own account alone."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.config.settings import Settings
from appliance.doctor.check import Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def look(situation: Situation) -> Iterator[Finding]:
    """Folders and secrets that others can read, or that belong to somebody else."""
    home = situation.home
    if not home.state.exists():
        return
    owner = home.state.stat().st_uid
    for folder in (home.state, home.secrets, home.run, home.logs, home.lan, home.chat, home.files, home.backup):
        if folder.is_dir() and _is_open(folder):
            yield Finding("folder-open", f"Others can look into the folder {folder}.", str(folder))
    for file in secrets(situation):
        if _is_open(file):
            yield Finding("secret-open", f"Others can read {file}.", str(file))
        if file.is_relative_to(home.state) and file.stat().st_uid != owner:
            yield Finding("file-of-somebody-else", f"{file} belongs to another account than the state.", str(file))


def secrets(situation: Situation) -> Iterator[Path]:
    """Every file that holds a secret: our own, and those that the settings name."""
    home = situation.home
    ours = [home.audit_key, home.audit_anchor, *home.secrets.rglob("*"), *home.lan.rglob("*.key")]
    named = named_files(situation.settings) if situation.settings else []
    yield from (file for file in dict.fromkeys([*ours, *map(Path, named)]) if file.is_file() and not file.is_symlink())


def named_files(settings: Settings) -> list[str]:
    """The files of secrets that the settings name."""
    identity = settings.identity
    found = [one.api_key_file for one in settings.engines.values()]
    found += [one.key_file for one in settings.cloud.providers.values()]
    found += [one.client_secret_file for one in identity.providers.values()]
    found += [identity.directory.bind_password_file, settings.mail.password_file]
    return [name for name in found if name]


def mend(_: Situation, finding: Finding) -> str:
    """Take the rights of others away. Raises OSError."""
    path = Path(finding.about)
    about = path.lstat()
    if stat.S_ISLNK(about.st_mode):
        raise OSError(f"{path} is a link now")
    path.chmod(stat.S_IMODE(about.st_mode) & ~_OTHERS)
    return f"{path} is for the box's own account alone now."


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & _OTHERS)


CHECK = Check("permissions", "Nobody else can read secrets.", look, mend)
