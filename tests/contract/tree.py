"""The files of this checkout, as the house rules look at them."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

from tests.support.box import ROOT

_NOT_OURS = {".git", ".hypothesis", ".cache", ".venv", "build", "dist", "__pycache__"}


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed; in a checkout without git, every file that is no by-product."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not _is_by_product(path.relative_to(ROOT))]
    return tuple(sorted(path for path in found if path.is_file() and not path.is_symlink()))


def _is_by_product(path: Path) -> bool:
    return any(part in _NOT_OURS or part.endswith(("_cache", ".egg-info")) for part in path.parts)


@cache
def texts() -> dict[str, str]:
    """The text of every text file, by its path from the root."""
    found = {}
    for path in files():
        try:
            found[str(path.relative_to(ROOT))] = path.read_text()
        except UnicodeDecodeError:
            continue
    return found


@cache
def modules(*folders: str) -> dict[str, ast.Module]:
    """The syntax tree of every Python file, or of those in some folders, by its path from the root."""
    return {
        name: ast.parse(text)
        for name, text in texts().items()
        if name.endswith(".py") and (not folders or name.split("/")[0] in folders)
    }


def shell_scripts() -> list[str]:
    """Every file that a shell runs: by its ending or its first line."""
    return [
        name
        for name, text in texts().items()
        if name.endswith(".sh") or (text.startswith("#!") and text.partition("\n")[0].endswith(("sh", "bash")))
    ]


def dotted(node: ast.AST) -> str:
    """`os.environ` for the expression that says so; empty for anything that is no dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""
