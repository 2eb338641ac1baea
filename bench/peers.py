"""The gateways under load, each as a process of its own on a free port: ours, and those that it is measured beside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import environment, processes, tools
from bench.tools import ROOT, BenchError

START_LIMIT_SECONDS = 120.0
COMMAND_LIMIT_SECONDS = 120.0
PLENTY = 1_000_000_000_000  # a budget that is counted and never used up
POLL_SECONDS = 0.005
OURS = "ours"
# What a name server, a proxy or a setting of ours could change about a peer is kept from it.
_CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class NotHereError(Exception):
    """A peer that is not on this machine; the text says what to install."""


@dataclass(frozen=True)
class Recipe:
    """How a peer is started. `command` is told the port; `health` answers 200 once it serves."""

    title: str
    command: Callable[[int], list[str]]
    health: str = "/health"
    key: str | None = None
    environment: Mapping[str, str] | None = None  # None: ours


@dataclass
class Peer:
    """One gateway in front of the fake engine; what it says goes to a log in its folder."""

    name: str
    recipe: Recipe
    folder: Path
    port: int = 0
    cold_starts: list[float] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process; its descendants count as the peer's too."""
        if self._process is None:
            raise BenchError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Starts it on a free port and notes the seconds until its health check first answered 200."""
        self.port = tools.free_port()
        with (self.folder / "log").open("ab") as log:
            began = time.monotonic()
            self._process = subprocess.Popen(
                self.recipe.command(self.port), cwd=ROOT, stdout=log, stderr=log, env=self.recipe.environment
            )
        self.wait_for(self.recipe.health)
        self.cold_starts.append(time.monotonic() - began)

    def wait_for(self, path: str) -> None:
        """Returns once `path` answers 200; raises when it does not in time or the process ends."""
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if tools.get(self.port, path, timeout=1.0)[0] == 200:
                return
            time.sleep(POLL_SECONDS)
        raise BenchError(f"{self.name}: {path} never answered 200; the end of its log:\n{self._log_tail()}")

    def stop(self) -> None:
        """Ends it and all its descendants; nothing to do when it is not running."""
        if self._process is not None:
            processes.stop(self._process.pid)
            self._process.wait(timeout=10)
            self._process = None

    def kill(self) -> None:
        """SIGKILL, as the machine's power or its memory would have it."""
        if self._process is not None:
            processes.kill(self._process.pid)
            self._process.wait(timeout=10)
            self._process = None

    def _log_tail(self) -> str:
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-20:])


def make(name: str, parent: Path, engine_port: int) -> Peer:
    """The peer with a folder of its own below `parent`, ready to be started; NotHereError when it is not installed."""
    folder = parent / name
    folder.mkdir()
    return Peer(name, MAKERS[name](folder, engine_port), folder)


def box_under_test(folder: Path, engine_port: int) -> Recipe:
    """Our gateway as it is measured, with what a real box has switched on: a key, four budgets, the fair queue."""
    appliance = _appliance(folder)
    engine = f'[engines.chat]\nurl = "http://127.0.0.1:{engine_port}/v1"\nmodel = "{tools.MODEL}"\n'
    (folder / "appliance.toml").write_text(engine)
    key = _create_key([*appliance, "keys", "create", "--owner", "bench", "--json"])
    for whose, unit, per in (
        (("user", "bench"), "--tokens", "day"),
        (("model", tools.MODEL), "--tokens", "month"),
        (("box",), "--tokens", "month"),
        (("box",), "--requests", "minute"),
    ):
        _set_budget(appliance, whose, unit, PLENTY, per)
    return Recipe("ours", lambda port: [*appliance, "serve", "--port", str(port)], "/health", key)


def _appliance(folder: Path) -> list[str]:
    """How a command of the box in a folder begins."""
    place = ["--config", str(folder / "appliance.toml"), "--state", str(folder / "state")]
    return [sys.executable, "-m", "appliance", *place]


def create_key(ours: Peer, owner: str) -> str:
    """A key on the box under test for somebody new."""
    return _create_key([*_appliance(ours.folder), "keys", "create", "--owner", owner, "--json"])


def set_budget(ours: Peer, whose: tuple[str, ...], unit: str, amount: int, per: str) -> None:
    """A budget on the box under test."""
    _set_budget(_appliance(ours.folder), whose, unit, amount, per)


def _set_budget(appliance: list[str], whose: tuple[str, ...], unit: str, amount: int, per: str) -> None:
    budget = [*appliance, "budgets", "set", *whose, unit, str(amount), "--per", per]
    subprocess.run(budget, cwd=ROOT, capture_output=True, timeout=COMMAND_LIMIT_SECONDS, check=True)


def _create_key(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_LIMIT_SECONDS, check=False)
    try:
        return str(json.loads(done.stdout)["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"no key was created (exit {done.returncode}):\n{done.stderr}") from error


_NGINX = """
daemon off;
{user}pid {folder}/pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream engine {{ server 127.0.0.1:{engine_port}; keepalive 256; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def nginx(folder: Path, engine_port: int) -> Recipe:
    """`proxy_pass` with connections kept: the least that a proxy can cost. No keys, no books."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise NotHereError("install the package nginx to have it in the table")
    # The worker gives up root's rights, and could then not write into our folder.
    user = "user root;\n" if os.geteuid() == 0 else ""

    def command(port: int) -> list[str]:
        text = _NGINX.format(folder=folder, engine_port=engine_port, port=port, user=user)
        (folder / "nginx.conf").write_text(text)
        return [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]

    said = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10, check=False).stderr
    return Recipe(f"nginx {said.rpartition('/')[2].split()[0]}, proxy_pass", command)


def bare(_folder: Path, engine_port: int) -> Recipe:
    """The least that an ASGI process can do."""
    command = [sys.executable, "-m", "bench.passthrough", str(engine_port)]
    return Recipe("bare ASGI pass-through", lambda port: [*command, str(port)])


def naive(folder: Path, engine_port: int) -> Recipe:
    """FastAPI and httpx, as people write it; see naive.py."""
    command = [str(environment.programs() / "python"), "-m", "uvicorn", "bench.naive:app", "--no-access-log"]
    around = _CLEAN | {"HOME": str(folder), "ENGINE_URL": f"http://127.0.0.1:{engine_port}/v1"}
    return Recipe(
        "naive FastAPI + httpx", lambda port: [*command, "--port", str(port)], "/openapi.json", environment=around
    )


# What its documentation calls the configuration for production, less what needs a database, Redis or Slack.
_LITELLM_FOR_PRODUCTION: dict[str, dict[str, object]] = {
    "litellm_settings": {
        "request_timeout": 600,
        "set_verbose": False,
        "json_logs": True,
        "callbacks": [],
        "num_retries": 0,
    },
    "general_settings": {"disable_spend_logs": True, "disable_error_logs": True},
}
_LITELLM_MODE = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
_LITELLM_KEY = "sk-bench-0123456789abcdef"


def litellm(folder: Path, engine_port: int) -> Recipe:
    """LiteLLM's proxy with what its documentation recommends for production."""
    return _litellm(folder, engine_port, _LITELLM_FOR_PRODUCTION, _LITELLM_MODE)


def litellm_as_it_comes(folder: Path, engine_port: int) -> Recipe:
    """LiteLLM with nothing set but the model and the key."""
    return _litellm(folder, engine_port, {}, {}, name=", as it comes")


def litellm_on_granian(folder: Path, engine_port: int) -> Recipe:
    """LiteLLM for production on the other server that its documentation offers."""
    found = _litellm(folder, engine_port, _LITELLM_FOR_PRODUCTION, _LITELLM_MODE, name=", on Granian")
    return replace(found, command=lambda port: [*found.command(port), "--run_granian"])


def litellm_with_rust(folder: Path, engine_port: int) -> Recipe:
    """LiteLLM for production with its optional Rust parts switched on."""
    return _litellm(
        folder, engine_port, _LITELLM_FOR_PRODUCTION, _LITELLM_MODE | {"LITELLM_RUST": "true"}, name=", with Rust"
    )


def _litellm(
    folder: Path, engine_port: int, settings: dict[str, dict[str, object]], more: dict[str, str], name: str = ""
) -> Recipe:
    """LiteLLM's proxy with one model, one master key and one worker; no database, no callbacks, no telemetry."""
    model = {"model": f"openai/{tools.MODEL}", "api_base": f"http://127.0.0.1:{engine_port}/v1", "api_key": "none"}
    general = settings.get("general_settings", {}) | {"master_key": _LITELLM_KEY}
    models = [{"model_name": tools.MODEL, "litellm_params": model}]
    config = folder / "config.yaml"
    # JSON is YAML too.
    config.write_text(json.dumps({**settings, "model_list": models, "general_settings": general}, indent=1))
    programs = environment.programs()
    around = {
        **_CLEAN,
        "HOME": str(folder),
        "PATH": f"{programs}:{_CLEAN['PATH']}",
        # Its price list would be fetched from outside at each start; the copy in the package is as good.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        **more,
    }
    command = [str(programs / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--telemetry", "False"]
    return Recipe(
        title=f"LiteLLM {environment.version('litellm')}{name}",
        command=lambda port: [*command, "--port", str(port)],
        health="/health/liveliness",
        key=_LITELLM_KEY,
        environment=around,
    )


MAKERS: dict[str, Callable[[Path, int], Recipe]] = {
    OURS: box_under_test,
    "nginx": nginx,
    "bare": bare,
    "naive": naive,
    "litellm": litellm,
    "litellm-as-it-comes": litellm_as_it_comes,
    "litellm-granian": litellm_on_granian,
    "litellm-rust": litellm_with_rust,
}
USUAL = ("nginx", "bare", "naive", "litellm", "litellm-granian")
