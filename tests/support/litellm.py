"""A real LiteLLM proxy, in an environment of its own that is made once from its lock file and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType

from appliance.config.paths import cache_folder
from tests.support.box import ROOT, free_port, wait_until

LOCK = ROOT / "requirements" / "litellm.txt"
MODEL = "far-model"
_LIMIT_S = 1200.0
_START_S = 120.0


def environment_of_its_own() -> Path:
    """The folder with LiteLLM's programs; made first where it is missing, which takes minutes and 1.5 GB."""
    digest = hashlib.sha256(LOCK.read_bytes() + platform.python_version().encode()).hexdigest()[:12]
    folder = cache_folder() / f"litellm-{digest}"
    if not (folder / "ready").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        uv = _uv()
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        python = str(folder / "bin" / "python")
        # Whole hashes: releases of this package have been tampered with before.
        _run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(LOCK))
        (folder / "ready").touch()
    return folder / "bin"


def _uv() -> str:
    """uv from the PATH, or the one that the tests keep in the user's cache folder."""
    kept = sorted(cache_folder().glob("uv-*/bin/uv"), key=lambda path: path.stat().st_mtime)
    found = shutil.which("uv") or (str(kept[-1]) if kept else None)
    assert found is not None, "no uv to set up LiteLLM with: run ./tests/run once"
    return found


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_LIMIT_S, env=_environment())


def _environment() -> dict[str, str]:
    """Ours, without what would lead it to our packages or to keys of ours."""
    ours = ("VIRTUAL_ENV", "PYTHONPATH", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    # Its list of prices would be fetched from the internet.
    return kept | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}


class LiteLlm:
    """A proxy that asks for `key`, and offers `far-model`, which `upstream` computes."""

    def __init__(self, folder: Path, upstream: str, key: str) -> None:
        programs = environment_of_its_own()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        config = folder / "litellm.yaml"
        params = {"model": "openai/fake", "api_base": upstream, "api_key": "none", "max_retries": 0}
        # JSON is YAML.
        told = {
            "model_list": [{"model_name": MODEL, "litellm_params": params}],
            "litellm_settings": {"num_retries": 0, "telemetry": False},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "general_settings": {"master_key": key},
        }
        config.write_text(json.dumps(told))
        command = [str(programs / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(self.port)]
        with (folder / "litellm.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment(), cwd=folder)
        try:
            wait_until(self._answers, _START_S, "the proxy's health")
        except BaseException:
            self._end()
            raise

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the proxy ended: see litellm.log"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/liveliness", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def __enter__(self) -> LiteLlm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(10)
