"""Schemathesis against a served gateway: a minute of what the published document allows and of what it does not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from appliance.gateway.endpoints import ENDPOINTS
from tests.support.box import Box
from tests.support.environments import own_environment, python_environment

# The first run sets Schemathesis up.
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

SECONDS = 60
# Not that all that is valid is accepted: that a tool that is named must be among the tools, no JSON schema can say.
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "unsupported_method", "ignored_auth",
)  # fmt: skip
METHODS = {"/v1/chat/completions": "POST", "/v1/models/{id}": "GET", "/health": "GET", "/openapi.json": "GET"}


def with_models(document: dict[str, Any]) -> dict[str, Any]:
    """A document that names the models that are served, so that most requests get as far as an engine."""
    for endpoint in ENDPOINTS:
        schema = document["paths"][endpoint.path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        form = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        form["properties"]["model"] = {"enum": [endpoint.role or "chat"]}
    parameter = document["paths"]["/v1/models/{id}"]["get"]["parameters"][0]
    parameter["schema"] = {"enum": ["chat", "embed", "fake", "another"]}
    return document


def test_what_the_document_says_is_what_the_gateway_does(served_all: Box, tmp_path: Path) -> None:
    key = served_all.key()
    status, headers, document = served_all.get("/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    (tmp_path / "openapi.json").write_text(json.dumps(with_models(document)))
    program = str(python_environment("schemathesis") / "schemathesis")
    command = [program, "--no-color", "run", "openapi.json", "--url", f"http://127.0.0.1:{served_all.port}"]
    command += ["--header", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS), "--seed", "1"]
    command += ["--phases", "coverage,fuzzing", "--max-time", str(SECONDS), "--continue-on-failure", "--no-shrink"]
    before = len(served_all.rows())
    done = subprocess.run(
        [*command, "--suppress-health-check", "all", "--request-timeout", "20"],
        cwd=tmp_path,
        env=own_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert served_all.answers("/ready")
    # Hundreds of its requests were good ones, and were answered.
    assert len(served_all.rows()) - before > 200


@pytest.mark.parametrize("path", METHODS)
def test_an_address_says_which_methods_it_takes(served_all: Box, path: str) -> None:
    status, headers, _ = served_all.request("DELETE", path.replace("{id}", "chat"), None, None)
    assert (status, headers["allow"]) == (405, METHODS[path])
