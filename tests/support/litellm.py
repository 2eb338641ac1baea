"""A real LiteLLM proxy, in an environment of its own that is made once from its lock file and kept in the cache."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from types import TracebackType

from tests.support.box import free_port, wait_until
from tests.support.environments import own_environment, python_environment

MODEL = "far-model"
_START_S = 120.0


def _environment() -> dict[str, str]:
    # Its list of prices would be fetched from the internet.
    return own_environment() | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}


class LiteLlm:
    """A proxy that asks for `key`, and offers `far-model`, which `upstream` computes."""

    def __init__(self, folder: Path, upstream: str, key: str) -> None:
        # The first time this takes minutes and 1.5 GB.
        programs = python_environment("litellm")
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
