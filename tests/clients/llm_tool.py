"""The command `llm`: an answer, a stream, a schema, its log, an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ["LLM_USER_PATH"])
# JSON is YAML.
MODEL = {
    "model_id": "box",
    "model_name": "chat",
    "api_base": os.environ["APPLIANCE_URL"],
    "api_key_name": "box",
    "supports_schema": True,
    "supports_tools": True,
}


def run(*words: str, code: int = 0) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "llm", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def main() -> None:
    """Do everything once."""
    FOLDER.mkdir(exist_ok=True)
    missing = {**MODEL, "model_id": "nobody", "model_name": "nobody"}
    (FOLDER / "extra-openai-models.yaml").write_text(json.dumps([MODEL, missing]))
    (FOLDER / "keys.json").write_text(json.dumps({"box": os.environ["APPLIANCE_KEY"]}))
    assert "box" in run("models")
    ask = ("-m", "box", "-s", "Be brief.", "-o", "temperature", "0", "-o", "max_tokens", "40")
    said = run(*ask, "Count from one to five.")
    assert said.strip()
    assert run(*ask, "--no-stream", "Count from one to five.") == said
    assert "city" in json.loads(run(*ask, "--schema", "city: str", "Name a city."))
    logged = json.loads(run("logs", "-n", "1", "--json"))
    assert logged[0]["output_tokens"] > 0
    assert "model-not-found" in run("-m", "nobody", "Hello", code=1)


main()
