"""What Open WebUI is told: every way in but sign-on closed, nothing fetched, nobody an admin."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from appliance.accounts.chat_secrets import ChatSecrets
from appliance.chat.environment import Terms, variables
from appliance.policy.roles import TABLE, Permission, Role

SECRETS = ChatSecrets("the-client", "the-service-key", "the-user-header", "the-storage", "the-admin-password")
TERMS = Terms(
    origin="https://ai.example.com",
    gateway="http://127.0.0.1:8080/v1",
    sign_on="http://127.0.0.1:8085",
    folder="/state/chat",
    scratch="/state/chat/tmp",
    roles=tuple(TABLE[Permission.CHAT].roles),
)


def told(**changed: object) -> dict[str, str]:
    """The environment on these terms, with changes."""
    return variables(replace(TERMS, **changed), SECRETS)  # type: ignore[arg-type]


def test_nobody_of_ours_is_an_admin_there_and_all_who_may_chat_come_in() -> None:
    found = told()
    assert found["OAUTH_ADMIN_ROLES"] not in set(Role)
    assert set(found["OAUTH_ALLOWED_ROLES"].split(",")) == {"owner", "admin", "auditor", "staff"}
    # Else the first person to sign in would be admin, whatever their role.
    assert found["WEBUI_ADMIN_PASSWORD"] == "the-admin-password"
    assert found["WEBUI_ADMIN_EMAIL"].endswith(".invalid")
    assert found["ENABLE_ADMIN_CHAT_ACCESS"] == found["ENABLE_ADMIN_EXPORT"] == "false"
    assert found["OAUTH_MERGE_ACCOUNTS_BY_EMAIL"] == "false"


@pytest.mark.parametrize(
    "name",
    ["SIGNUP", "LOGIN_FORM", "PASSWORD_AUTH", "PLUGINS", "DIRECT_CONNECTIONS", "WEB_SEARCH", "OLLAMA_API", "API_KEYS",
     "CODE_INTERPRETER", "COMMUNITY_SHARING", "VERSION_UPDATE_CHECK", "PERSISTENT_CONFIG", "OAUTH_PERSISTENT_CONFIG",
     "PIP_INSTALL_FRONTMATTER_REQUIREMENTS"],
)  # fmt: skip
def test_what_must_be_off_is_off(name: str) -> None:
    assert told()[f"ENABLE_{name}"] == "false"


def test_the_gateway_is_asked_with_the_persons_own_token_and_told_what_for() -> None:
    (connection,) = json.loads(told()["OPENAI_API_CONFIGS"]).values()
    assert connection["auth_type"] == "system_oauth"
    assert connection["headers"] == {"X-Appliance-Task": "{{TASK}}", "X-Appliance-Chat": "{{CHAT_ID}}"}
    assert told()["OPENAI_API_BASE_URLS"] == told()["RAG_OPENAI_API_BASE_URL"] == TERMS.gateway
    assert "the-service-key" not in told()["OPENAI_API_KEYS"]


@pytest.mark.parametrize(("small", "model", "task"), [(False, "chat", "chat"), (True, "auto", "small")])
def test_the_models_are_those_that_there_are(small: bool, model: str, task: str) -> None:
    found = told(small=small)
    assert (found["DEFAULT_MODELS"], found["TASK_MODEL"], found["TASK_MODEL_EXTERNAL"]) == (model, task, task)
    assert found["ENABLE_RETRIEVAL_QUERY_GENERATION"] == ("true" if small else "false")
    assert json.loads(found["TASK_MODEL_PARAMS"]) == {"max_tokens": 300}


@pytest.mark.parametrize("embed", [True, False])
def test_documents_are_searched_by_our_engine_or_read_whole_and_nothing_is_fetched_for_it(embed: bool) -> None:
    found = told(embed=embed)
    assert found["BYPASS_EMBEDDING_AND_RETRIEVAL"] == ("false" if embed else "true")
    assert (found["RAG_EMBEDDING_ENGINE"], found["RAG_RERANKING_MODEL"]) == ("openai", "")
    assert found["FORWARD_USER_INFO_HEADER_JWT_SECRET"] == "the-user-header"


def test_without_redis_a_browser_stays_in_for_a_short_time_only() -> None:
    assert "REDIS_URL" not in told()
    assert told()["JWT_EXPIRES_IN"] == "30m"
    found = told(redis="/run/chat-redis.sock")
    assert (found["REDIS_URL"], found["JWT_EXPIRES_IN"]) == ("unix:///run/chat-redis.sock", "8h")


@pytest.mark.parametrize(
    ("origin", "secure", "socket"),
    [
        ("https://ai.example.com", "true", "wss://ai.example.com"),
        ("http://127.0.0.1:8090", "false", "ws://127.0.0.1:8090"),
    ],
)
def test_its_pages_load_from_here_only_and_cookies_keep_to_tls(origin: str, secure: str, socket: str) -> None:
    found = told(origin=origin)
    assert found["WEBUI_AUTH_COOKIE_SECURE"] == found["WEBUI_SESSION_COOKIE_SECURE"] == secure
    policy = dict(part.split(" ", 1) for part in found["CONTENT_SECURITY_POLICY"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == f"'self' {socket} blob: data:"
    assert not any("*" in sources or "https:" in sources.replace(origin, "") for sources in policy.values())
    assert found["OPENID_REDIRECT_URI"] == f"{origin}/oauth/oidc/callback"


@pytest.mark.parametrize(("origin", "packs"), [("http://127.0.0.1:8090", "false"), ("https://ai.example.com", "true")])
def test_only_what_leaves_the_machine_is_packed(origin: str, packs: str) -> None:
    assert told(origin=origin)["ENABLE_COMPRESSION_MIDDLEWARE"] == packs
