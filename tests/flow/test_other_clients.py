"""Programs that people point at the appliance do their usual jobs on the real engine; see tests/clients."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.artifacts.shelf import Shelf
from appliance.config.paths import cache_folder
from appliance.control.plan import catalogue
from tests.flow.test_clients import chat_history
from tests.support.box import ROOT, Box, wait_until
from tests.support.environments import node_environment, own_environment, python_environment

# The first run sets the programs up.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(1500)]

CLIENTS = ROOT / "tests" / "clients"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[Box]:
    """A box that is up, with models for conversations and embeddings."""
    vectors = Shelf(cache_folder() / "tests-models").pull(
        catalogue().get("all-minilm-l6-v2-q8_0"), lambda done, _: None
    )
    box = Box(tmp_path_factory.mktemp("other_clients"))
    box.configure(
        "[engines.chat]\ncontext = 2048\nslots = 2\n"
        '[engines.embed]\nmodel = "all-minilm-l6-v2-q8_0"\ncontext = 512\nslots = 2\n'
    )
    (box.state / "models").mkdir(parents=True)
    for file in (model_file, vectors):
        (box.state / "models" / file.name).symlink_to(file)
    # The embedded model's own template knows no tools.
    box.run("up", "--no-prove", env={"LLAMA_ARG_CHAT_TEMPLATE_FILE": str(ROOT / "tests/support/tools.jinja")})
    wait_until(lambda: box.answers("/ready"), 60, "all engines")
    yield box
    box.run("down")


def passes(box: Box, folder: Path, *command: str) -> None:
    """Run a client's script with the box's address and a key of its own, and insist that it is content."""
    more = {
        "APPLIANCE_URL": f"http://127.0.0.1:{box.port}/v1",
        "APPLIANCE_KEY": box.key(),
        # A model this small calls a tool only after it has seen it done.
        "APPLIANCE_CALLS": json.dumps(chat_history()),
        "LLM_USER_PATH": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    before = len(box.rows())
    done = subprocess.run(
        command, env=own_environment() | more, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(box.rows()) > before


# LiteLLM needs more than it says once there are tools, which its proxy brings.
SCRIPTS = {"lang_chain": "clients", "llamaindex": "clients", "llm_tool": "clients", "lite_llm": "litellm"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_python_client_does_its_usual_jobs(up: Box, tmp_path: Path, name: str) -> None:
    passes(up, tmp_path, str(python_environment(SCRIPTS[name]) / "python"), str(CLIENTS / f"{name}.py"))


def test_openais_client_for_node_does_its_usual_jobs(up: Box, tmp_path: Path) -> None:
    passes(up, tmp_path, "node", str(node_environment(CLIENTS / "node") / "client.js"))
