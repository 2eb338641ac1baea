"""The file through which the control plane hands a deployment to the request path."""

from __future__ import annotations

from pathlib import Path

from appliance.deployment import Deployment, from_json
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic


def read(path: Path) -> Deployment:
    """The deployment on disk; an empty one when none was written yet. Raises deployment-unreadable."""
    return find(path) or Deployment(release="", engines=())


def find(path: Path) -> Deployment | None:
    """The deployment on disk; None when none was written yet. Raises deployment-unreadable."""
    try:
        return from_json(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ApplianceError(
            "deployment-unreadable",
            f"{path} is not what `appliance up` writes: {error}.",
            "Run `appliance up`: it writes it anew.",
        ) from error


def write(path: Path, deployment: Deployment) -> None:
    """Replace the deployment on disk, whole or not at all."""
    write_atomic(path, deployment.to_json().encode(), 0o600)
