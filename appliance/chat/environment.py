"""Everything that Open WebUI is told, as environment variables (pure).

It reads nothing else: what admins change in its pages is forgotten at the next start. Each value is there on purpose;
decision 0024 says why, and what happens without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from appliance.accounts.chat_secrets import ChatSecrets
from appliance.accounts.clients import CHAT_PAGE, INSIDE

# Nobody has this role: in Open WebUI an admin can look at what others keep there.
_NOBODY: Final = "nobody-is-admin-of-the-chat-page"
# Reserved for names that never exist (RFC 2606), so no person has this address.
BUILT_IN: Final = "built-in@chat-page.invalid"
# By these the gateway tells a person's own questions from what the page asks by itself, such as titles.
TASK_HEADER: Final = "X-Appliance-Task"
CHAT_HEADER: Final = "X-Appliance-Chat"
# The most that a model says for a title and the like; one that thinks first needs some of it for that.
_TASK_TOKENS: Final = 300
# How long a browser stays signed in to the page itself; sign-on then lets it in again without a word. Without Redis
# that cannot be taken back, so it is short.
_SESSION: Final = {True: "8h", False: "30m"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What the environment is made from.

    `origin` is the page's address as browsers know it; `gateway` the API's base address and `sign_on` that of sign-on,
    both on this machine and without a slash at the end. `folder` is the page's own below the state folder, `scratch`
    for its temporary files. `roles` may use the page. `small` and `embed` say which engines there are. `redis` is the
    socket of its Redis, empty without one.
    """

    origin: str
    gateway: str
    sign_on: str
    folder: str
    scratch: str
    roles: tuple[str, ...]
    small: bool = False
    embed: bool = False
    redis: str = ""


def variables(terms: Terms, secrets: ChatSecrets) -> dict[str, str]:
    """The whole environment of the chat page's process, but for the path of its programs."""
    return {
        **_place(terms, secrets),
        **_OFFLINE,
        **_models(terms),
        **_sign_on(terms, secrets),
        **_documents(terms, secrets),
        **_people(),
        "CONTENT_SECURITY_POLICY": content_policy(terms.origin),
    }


def _place(terms: Terms, secrets: ChatSecrets) -> dict[str, str]:
    """Where it lives, and under which address."""
    secure = _flag(terms.origin.startswith("https://"))
    return {
        "ENV": "prod",
        # It is installed as a package: its pages are in there.
        "FROM_INIT_PY": "true",
        "HOME": terms.folder,
        "TMPDIR": terms.scratch,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        # Arenas for each thread would cost tens of megabytes.
        "MALLOC_ARENA_MAX": "2",
        "DATA_DIR": terms.folder,
        # Else it writes into its own package at each start.
        "STATIC_DIR": f"{terms.folder}/static",
        # It also encrypts the tokens of people that are kept.
        "WEBUI_SECRET_KEY": secrets.storage,
        "WEBUI_URL": terms.origin,
        "CORS_ALLOW_ORIGIN": terms.origin,
        "FORWARDED_ALLOW_IPS": "127.0.0.1",
        "WEBUI_SESSION_COOKIE_SECURE": secure,
        "WEBUI_AUTH_COOKIE_SECURE": secure,
        # Whoever has no encryption is on this machine: to pack what never leaves it only takes time.
        "ENABLE_COMPRESSION_MIDDLEWARE": secure,
        "WEBUI_SESSION_COOKIE_SAME_SITE": "lax",
        # What is written here counts at every start; else the first start's values would count for ever.
        "ENABLE_PERSISTENT_CONFIG": "false",
        "ENABLE_OAUTH_PERSISTENT_CONFIG": "false",
    }


# Nothing looks for anything outside, and no program of others runs on the server.
_OFFLINE: Final[dict[str, str]] = {
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS": "false",
    "ENABLE_COMMUNITY_SHARING": "false",
    "ENABLE_OLLAMA_API": "false",
    # Nobody listens there. Without an address it would look for one on two ports.
    "OLLAMA_BASE_URL": "http://127.0.0.1:9",
    "ENABLE_DIRECT_CONNECTIONS": "false",
    "ENABLE_WEB_SEARCH": "false",
    "ENABLE_IMAGE_GENERATION": "false",
    "ENABLE_CODE_INTERPRETER": "false",
    # In the browser's own sandbox, with what the page brings along.
    "ENABLE_CODE_EXECUTION": "true",
    "CODE_EXECUTION_ENGINE": "pyodide",
    "ENABLE_PLUGINS": "false",
    "ENABLE_EASTER_EGGS": "false",
    "ENABLE_PUBLIC_ACTIVE_USERS_COUNT": "false",
}


def _models(terms: Terms) -> dict[str, str]:
    """The gateway, asked with the access token of whoever asks, and what for."""
    connection = {
        "enable": True,
        # The person's own token of sign-on, renewed by itself: neither this page nor its admin can make one up.
        "auth_type": "system_oauth",
        "connection_type": "local",
        "headers": {TASK_HEADER: "{{TASK}}", CHAT_HEADER: "{{CHAT_ID}}"},
    }
    # Thirty descriptions of tools would ride on each question, 21 KB of them.
    able = {"builtin_tools": False, "usage": True, "code_interpreter": False, "web_search": False}
    task = "small" if terms.small else "chat"
    return {
        "ENABLE_OPENAI_API": "true",
        "OPENAI_API_BASE_URLS": terms.gateway,
        "OPENAI_API_KEYS": "unused",
        "OPENAI_API_CONFIGS": json.dumps({"0": connection}),
        # The gateway decides who may use what. Else people would see no model at all.
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        "DEFAULT_MODELS": "auto" if terms.small else "chat",
        # It is the first for models called local, the second for all others.
        "TASK_MODEL": task,
        "TASK_MODEL_EXTERNAL": task,
        # A title is short. Without a limit a small model may talk on until its context is full.
        "TASK_MODEL_PARAMS": json.dumps({"max_tokens": _TASK_TOKENS}),
        "DEFAULT_MODEL_METADATA": json.dumps({"capabilities": {**able, "image_generation": False}}),
        "ENABLE_TITLE_GENERATION": "true",
        # Better words to search documents with. On the large model that would hold up the very answer that it is for.
        "ENABLE_RETRIEVAL_QUERY_GENERATION": _flag(terms.small),
        "ENABLE_SEARCH_QUERY_GENERATION": "false",
        "ENABLE_FOLLOW_UP_GENERATION": "false",
        "ENABLE_TAGS_GENERATION": "false",
        "ENABLE_AUTOCOMPLETE_GENERATION": "false",
        "ENABLE_EVALUATION_ARENA_MODELS": "false",
    }


def _sign_on(terms: Terms, secrets: ChatSecrets) -> dict[str, str]:
    """Our sign-on, and no other way in."""
    redis = {"REDIS_URL": f"unix://{terms.redis}", "REDIS_KEY_PREFIX": "chat"} if terms.redis else {}
    return {
        # With an account in place, the first person to sign in does not become admin.
        "WEBUI_ADMIN_EMAIL": BUILT_IN,
        "WEBUI_ADMIN_PASSWORD": secrets.admin_password,
        "WEBUI_ADMIN_NAME": "Built-in account",
        "ENABLE_INITIAL_ADMIN_SIGNUP": "false",
        "ENABLE_SIGNUP": "false",
        "ENABLE_LOGIN_FORM": "false",
        "ENABLE_PASSWORD_AUTH": "false",
        "OAUTH_AUTO_REDIRECT": "true",
        "OPENID_PROVIDER_URL": f"{terms.sign_on}{INSIDE}",
        "OPENID_REDIRECT_URI": redirect_uri(terms.origin),
        "OAUTH_CLIENT_ID": CHAT_PAGE,
        "OAUTH_CLIENT_SECRET": secrets.client,
        "OAUTH_TOKEN_ENDPOINT_AUTH_METHOD": "client_secret_basic",
        "OAUTH_SCOPES": "openid email profile offline_access",
        "OAUTH_CODE_CHALLENGE_METHOD": "S256",
        "OAUTH_PROVIDER_NAME": "Sign-on",
        "ENABLE_OAUTH_SIGNUP": "true",
        # People are known by their id, never by an address, which may pass to a successor.
        "OAUTH_MERGE_ACCOUNTS_BY_EMAIL": "false",
        "OAUTH_UPDATE_NAME_ON_LOGIN": "true",
        "OAUTH_UPDATE_EMAIL_ON_LOGIN": "true",
        "ENABLE_OAUTH_ROLE_MANAGEMENT": "true",
        "OAUTH_ROLES_CLAIM": "roles",
        "OAUTH_ALLOWED_ROLES": ",".join(sorted(terms.roles)),
        "OAUTH_ADMIN_ROLES": _NOBODY,
        "DEFAULT_USER_ROLE": "pending",
        "ENABLE_OAUTH_GROUP_MANAGEMENT": "true",
        "ENABLE_OAUTH_GROUP_CREATION": "true",
        "OAUTH_GROUPS_CLAIM": "groups",
        # People share with the groups that they are in themselves.
        "OAUTH_GROUP_DEFAULT_SHARE": "members",
        "ENABLE_OAUTH_BACKCHANNEL_LOGOUT": "true",
        "JWT_EXPIRES_IN": _SESSION[bool(terms.redis)],
        **redis,
    }


def _documents(terms: Terms, secrets: ChatSecrets) -> dict[str, str]:
    """What people upload: embedded by our engine in their name; without one, put into the question whole."""
    return {
        "VECTOR_DB": "chroma",
        # Any other engine would want to fetch a model, even where none is used.
        "RAG_EMBEDDING_ENGINE": "openai",
        "RAG_EMBEDDING_MODEL": "embed",
        "RAG_OPENAI_API_BASE_URL": terms.gateway,
        "RAG_OPENAI_API_KEY": secrets.service_key,
        "RAG_EMBEDDING_BATCH_SIZE": "32",
        "RAG_RERANKING_MODEL": "",
        "RAG_TEXT_SPLITTER": "character",
        "BYPASS_EMBEDDING_AND_RETRIEVAL": _flag(not terms.embed),
        # Embeddings are asked for with the service key; this says, signed, for whom.
        "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
        "FORWARD_USER_INFO_HEADER_JWT_SECRET": secrets.user_header,
    }


def _people() -> dict[str, str]:
    """What people may do there. There is no admin, so they look after their own collections of documents."""
    may = {"WORKSPACE_KNOWLEDGE_ACCESS", "WORKSPACE_KNOWLEDGE_ALLOW_SHARING", "WORKSPACE_PROMPTS_ACCESS"}
    may |= {"WORKSPACE_PROMPTS_ALLOW_SHARING"}
    may_not = {"CHAT_WEB_UPLOAD", "CHAT_STT", "CHAT_TTS", "CHAT_CALL", "FEATURES_API_KEYS", "WORKSPACE_TOOLS_ACCESS"}
    off = ("MEMORIES", "NOTES", "CALENDAR", "AUTOMATIONS", "CHANNELS", "USER_WEBHOOKS", "API_KEYS")
    return {
        **{f"USER_PERMISSIONS_{name}": "true" for name in sorted(may)},
        **{f"USER_PERMISSIONS_{name}": "false" for name in sorted(may_not)},
        **{f"ENABLE_{name}": "false" for name in off},
        "SHOW_ADMIN_DETAILS": "false",
        "ENABLE_ADMIN_CHAT_ACCESS": "false",
        "ENABLE_ADMIN_EXPORT": "false",
        "ENABLE_ADMIN_WORKSPACE_CONTENT_ACCESS": "false",
        "ENABLE_ADMIN_ANALYTICS": "false",
        # Who did what there, without what was said.
        "AUDIT_LOG_LEVEL": "METADATA",
        "ENABLE_AUDIT_LOGS_FILE": "true",
        "AUDIT_EXCLUDED_PATHS": "/none",
    }


def redirect_uri(origin: str) -> str:
    """Where sign-on sends people back to."""
    return f"{origin}/oauth/oidc/callback"


def content_policy(origin: str) -> str:
    """What its pages may load: only what comes from here. It needs scripts in its pages, and runs code of people."""
    socket = origin.replace("http", "ws", 1)
    return "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            f"connect-src 'self' {socket} blob: data:",
            "worker-src 'self' blob:",
            "font-src 'self' data:",
            "frame-src 'self' blob:",
            "frame-ancestors 'none'",
            "base-uri 'self'",
            "object-src 'none'",
        )
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"
