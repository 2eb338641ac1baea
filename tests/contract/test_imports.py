"""What is light stays light: which libraries a process must not carry."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.box import environment

HELP = (
    "import sys; sys.argv = ['appliance', '--help']; import runpy; runpy.run_module('appliance', run_name='__main__')"
)
ORM = ("sqlmodel", "sqlalchemy", "alembic")

CASES = {
    "help": (HELP, (*ORM, "httptools", "uvicorn", "pydantic", "rich", "psutil", "asyncio")),
    "what starts the request path": (
        "import appliance.cli.app, appliance.config.load, appliance.control.service",
        (*ORM, "uvicorn", "psutil", "cryptography", "asyncio"),
    ),
    "request path": (
        "import appliance.cli.request_path",
        (*ORM, "aiohttp", "pydantic", "typer", "rich", "pip", "psutil", "joserfc", "cryptography", "authlib", "jinja2"),
    ),
    "what starts sign-on": (
        "import appliance.cli.app, appliance.config.load, appliance.control.federation, appliance.identity.place",
        (*ORM, "uvicorn", "authlib", "cryptography", "jinja2"),
    ),
    "sign-on": ("import appliance.cli.sign_on", ("aiohttp", "alembic", "typer", "rich", "pip", "psutil")),
    "supervisor": (
        "import appliance.supervise.__main__",
        (*ORM, "httptools", "uvicorn", "pydantic", "typer", "orjson"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_process_carries_nothing_that_it_does_not_use(case: str) -> None:
    code, heavy = CASES[case]
    program = f"import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )
    loaded = set(done.stderr.split())
    assert "appliance" in loaded
    assert loaded & set(heavy) == set()
    if case == "help":
        assert "Get started" in done.stdout
