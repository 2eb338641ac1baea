"""Write the pages of docs/reference from the code: settings, commands, errors, API, metrics, permissions and others.

python -m docs.generate           rewrite the pages
python -m docs.generate --check   change nothing; exit code 1 when a page is out of date
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import typer

from appliance import errors
from appliance.audit.actions import KINDS as ACTIONS
from appliance.audit.actions import LONGEST
from appliance.cli.app import app
from appliance.cli.output import leave, say
from appliance.cli.panels import ORDER
from appliance.control.plan import catalogue
from appliance.doctor.finding import KINDS as FINDINGS
from appliance.doctor.table import CHECKS
from appliance.gateway.app import routes
from appliance.gateway.box import Box
from appliance.gateway.endpoints import ENDPOINTS, Endpoint
from appliance.gateway.metrics import TABLE as METRICS
from appliance.gateway.openapi import about
from appliance.hardware.facts import Gpu, GpuUser, Hardware, Kind, Problem, Vendor
from appliance.hardware.problems import REASONS
from appliance.http.routes import Access, Route
from appliance.policy.roles import MEANINGS, Role
from appliance.policy.roles import TABLE as PERMISSIONS
from appliance.policy.rules import Rule
from appliance.selector.plan import Wishes, plan_set
from docs.machines import MACHINES
from docs.openapi import openapi_page
from docs.settings import settings_page
from docs.words import HEAD, table, text

REFERENCE = Path(__file__).parent / "reference"


def commands() -> Iterator[tuple[str, str, Any]]:
    """Every command: its panel, its words and the command itself."""
    top: Any = typer.main.get_command(app)
    for name, command in top.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield command.rich_help_panel, name, command
        else:
            yield from ((command.rich_help_panel, f"{name} {word}", one) for word, one in inner.items())


def commands_page() -> str:
    """Every command with its arguments and options, in the panels of the help."""
    top: Any = typer.main.get_command(app)
    parts = [HEAD + "# Commands\n", "These options stand before the command's name:\n", _options(top), _EXIT_CODES]
    for panel in ORDER:
        found = [(name, command) for one, name, command in commands() if one == panel]
        parts += [f"## {panel}\n"] if found else []
        for name, command in found:
            told, _, example = command.help.partition("Example: ")
            parts += [f"### `appliance {name}`\n", f"{told.strip()}\n", f"    {example.strip()}\n"]
            parts += [_options(command)] if command.params else []
    return "\n".join(parts)


def _options(command: Any) -> str:
    rows = [(f"`{_spelled(one)}`", _when_left_out(one), one.help) for one in command.params]
    return table(("argument or option", "default", "meaning"), rows)


def _spelled(parameter: Any) -> str:
    """A parameter as it is typed: `PROMPT`, `--yes`, `-n, --lines N`."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    names = ", ".join(parameter.opts)
    return names if parameter.is_flag else f"{names} {parameter.metavar or str(parameter.name).upper()}"


def _when_left_out(parameter: Any) -> str:
    if parameter.required:
        return "must be given"
    return "" if parameter.default in (None, False) else f"`{parameter.default}`"


_EXIT_CODES = f"""The exit code says how a command ended:

| exit code | meaning |
| --- | --- |
| 0 | done |
| {errors.FAILED} | a known failure; [errors](errors.md) lists them |
| {errors.WRONG_USE} | wrong use: the command line or the settings file is not right |
| {errors.MACHINE_CANNOT} | this machine cannot do it |
| {errors.NEEDS_A_YES} | it would destroy something, and was not confirmed with `--yes` |
| {errors.UNDONE} | an update failed, and everything is as it was before it |
| {errors.BUG} | a bug of the appliance |
| {errors.INTERRUPTED} | interrupted |
"""


def errors_page() -> str:
    """Every failure that a person can meet."""
    local = [(f"`{code}`", str(kind.exit), kind.meaning) for code, kind in errors.KINDS.items() if not kind.http]
    remote = [
        (f"`{code}`", str(kind.http), f"`{kind.type}`", kind.meaning)
        for code, kind in errors.KINDS.items()
        if kind.http
    ]
    return "\n".join(
        [
            HEAD + "# Errors\n",
            "A code never changes its meaning, so scripts may rely on it. Every error comes with a sentence on what\n"
            "happened and one next step.\n",
            "## Of commands\n",
            'With `--json` the document is `{"error": {"code": ..., "message": ..., "hint": ...}}`.\n',
            table(("code", "exit code", "meaning"), local),
            "## Of the API\n",
            'The body is `{"error": {"message", "type", "param", "code", "hint", "request_id"}}`, as OpenAI\'s\n'
            "clients expect it. In a stream that has begun, it comes as the last event, and no `[DONE]` follows.\n",
            table(("code", "HTTP status", "type", "meaning"), remote),
        ]
    )


def hardware_page() -> str:
    """The document of `appliance hardware --json`, and every problem that can stand in it."""
    kinds = {Hardware: "The document", Gpu: "A graphics card", GpuUser: "Who uses it", Problem: "A problem"}
    parts = [
        HEAD + "# Hardware facts\n",
        "What `appliance hardware --json` prints, and `--from` takes back. Every field is always there; `null`\n"
        "stands for what is not known. Sizes are in bytes, speeds in bytes per second.\n",
    ]
    for kind, title in kinds.items():
        parts += [f"## {title}\n", f"{text(kind)}\n"]
        parts.append(table(("field", "what it is"), [(f"`{one.name}`", _json_kind(one.type)) for one in fields(kind)]))
    parts += [
        "## Every problem\n",
        table(("code", "reason"), [(f"`{code}`", _open(REASONS[code])) for code in REASONS]),
    ]
    return "\n".join(parts)


def doctor_page() -> str:
    """Every check of the doctor, and everything that it can find."""
    return "\n".join(
        [
            HEAD + "# What the doctor finds\n",
            "An id never changes its meaning, so scripts may rely on it. With a warning or a fault `appliance doctor`\n"
            "ends with exit code 1. [How to use it](../care.md).\n",
            "## Checks\n",
            table(
                ("check", "when all is well", "takes at most"),
                [(one.name, one.good, f"{one.limit_s:g} s") for one in CHECKS],
            ),
            "## Findings\n",
            table(
                ("id", "level", "what it means for staff", "what to do"),
                [(f"`{id}`", kind.level, kind.means, kind.do) for id, kind in FINDINGS.items()],
            ),
        ]
    )


def _open(reason: str) -> str:
    """A reason with dots for what is only known when it happens."""
    return re.sub(r"\{\w+\}", "...", reason)


def _json_kind(annotation: Any) -> str:
    """A field's type, as written in the code, in JSON's words."""
    name, orelse, _ = str(annotation).partition("[")[0].partition(" | ")
    words = {"int": "number", "str": "text", "bool": "true or false", "tuple": "list", "frozenset": "list of text"}
    literals = {"Vendor": Vendor, "Kind": Kind}
    if name in literals:
        return " or ".join(f"`{word}`" for word in get_args(literals[name]))
    return words[name] + (" or null" if orelse else "")


def route_table() -> tuple[Route, ...]:
    """The gateway's routes. They are only read here, so the box that their handlers would work with stays empty."""
    return routes(object.__new__(Box))


def api_page() -> str:
    """Every address, and every field of each request with its range."""
    who = {Access.ANYBODY: "anybody who reaches the port", Access.KEY: "holders of an API key"}
    rows = [(f"`{one.method} {one.path}`", who[one.access], about(one)) for one in route_table()]
    return "\n".join(
        [HEAD + "# The API\n", _API, table(("address", "who may call it", "what it does"), rows), _FIELDS]
    ) + ("\n" + "\n".join(map(_fields_of, ENDPOINTS)))


_API = """\
It speaks OpenAI's chat completions, text completions, responses and embeddings, Anthropic's messages, and the usual
form of sorting documents (`rerank`). A key goes into the header `Authorization: Bearer apl-...`; for messages
`x-api-key: apl-...` does as well, where there is no `Authorization`. Every answer carries an `x-request-id`, which
stands in the usage rows too. A request may carry an `x-request-id` of its own (at most 128 letters, digits, dots, lines
and underscores): the answer has it as `x-client-request-id`.

Responses and messages are translated: the engine is asked for a chat completion. Nothing is kept from one request to
the next, so there is no `previous_response_id`. Thoughts of a model come as reasoning items and thinking blocks; in
messages only where `thinking` was asked for. Embeddings are answered by the models of the role `embed`, `rerank` by
those of the role `rerank`, everything else by the others.

Programs read all this in [openapi.json](openapi.json), which `GET /openapi.json` answers with.
"""
_FIELDS = """\
Fields other than these, and values outside these ranges, are refused by name. `null` counts as left out.
"""


def _fields_of(endpoint: Endpoint) -> str:
    """An endpoint's fields, and those that clients may know and that it does not take."""
    form = endpoint.form
    same = next(one for one in ENDPOINTS if one.form is form)
    head = f"## Fields of `{endpoint.path}`\n"
    if same is not endpoint:
        return f"{head}\nThose of `{same.path}`.\n"
    fields = "\n".join(_bullets(form.fields, frozenset(form.needed), ""))
    refused = "\n".join(f"* `{name}`: {why}" for name, why in form.refused.items())
    return f"{head}\n{fields}\n" + (f"\nNot supported:\n\n{refused}\n" if refused else "")


def _bullets(fields: Mapping[str, Rule], needed: frozenset[str], indent: str) -> Iterator[str]:
    """Fields as a list, and under each the fields of the objects in it."""
    for name, rule in fields.items():
        yield f"{indent}* `{name}`{' (needed)' if name in needed else ''}: {rule.words}"
        yield from _bullets(rule.fields, rule.needed, indent + "    ")


def metrics_page() -> str:
    """Every metric of `GET /metrics`: its name, what it is, its labels."""
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels) or "none", one.help)
        for one in METRICS
    ]
    return "\n".join(
        [
            HEAD + "# Metrics\n",
            "What `GET /metrics` tells, in Prometheus' text format; [how to use it](../metrics.md). Counters begin at\n"
            "0 with the gateway, or with the engine that counts. What nothing tells on this machine is not on the\n"
            "page: no sample stands for 0. No label holds the name of a person, a team or a key.\n",
            table(("metric", "kind", "labels", "meaning"), rows),
            "`model` is the model that answered, `endpoint` the part of the API, `priority` the class of the queue,\n"
            "`outcome` how a call ended, `code` one of the [errors](errors.md), `role` what an engine is for, `gpu`\n"
            "the card's number, and `kind`, `unit` and `period` are those of budgets.\n",
        ]
    )


def picks_page() -> str:
    """What the planner chooses on machines that people buy."""
    known = catalogue()
    parts = [
        HEAD + "# Which models on which machine\n",
        "What `appliance models plan` chooses for ten people and conversations of 8,192 tokens. The speeds are\n"
        "reckoned from the memory's bandwidth, for one user; nothing here was measured on these machines.\n",
    ]
    rows = []
    for words, machine in MACHINES.items():
        found = plan_set(known, machine, Wishes())
        chat = found.chat
        assert chat is not None
        how = f"{chat.load.slots} x {chat.load.context} tokens, {chat.load.kv}"
        where = "card" if chat.on_gpu else "processor"
        beside = ", ".join(f"`{one.model.id}`" for one in found.models[1:])
        rows.append((words, f"`{chat.model.id}`", where, how, f"{chat.alone:.0f}", beside or "none"))
    parts.append(table(("machine", "chat model", "on the", "conversations", "tokens/s", "beside it"), rows))
    return "\n".join(parts)


def audit_page() -> str:
    """Everything that can be on the audit log."""
    rows = [
        (f"`{action}`", kind.meaning, ", ".join(f"`{name}`" for name in kind.facts)) for action, kind in ACTIONS.items()
    ]
    return "\n".join(
        [
            HEAD + "# What is on the audit log\n",
            "Each event has `seq`, `at` (UTC), `actor`, `action`, `target`, `request_id` (empty outside the API),\n"
            f"`facts` and `mac`. Facts have the names below and short plain values: texts are cut after {LONGEST}\n"
            "characters, and none could hold a prompt. [How to read and verify it](../audit.md).\n",
            table(("action", "what it means", "its facts"), rows),
        ]
    )


def permissions_page() -> str:
    """Every role, and what each may do."""
    roles = [(f"`{role}`", meaning) for role, meaning in MEANINGS.items()]
    rows = [
        (
            f"`{permission}`",
            rule.meaning,
            *("yes" if role in rule.roles else "" for role in Role),
            "yes" if rule.step_up else "",
        )
        for permission, rule in PERMISSIONS.items()
    ]
    return "\n".join(
        [
            HEAD + "# Roles and permissions\n",
            "Whatever is not in this table nobody may do on the pages. The command line is outside of it: whoever may\n"
            "write the state folder is in charge of the machine. [How to handle people](../users.md).\n",
            table(("role", "what it is"), roles),
            "Proof: only within a few minutes after they have shown once more that it is them.\n",
            table(("permission", "what it allows", *(f"`{role}`" for role in Role), "proof"), rows),
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "commands.md": commands_page,
    "errors.md": errors_page,
    "hardware.md": hardware_page,
    "api.md": api_page,
    "metrics.md": metrics_page,
    "openapi.json": openapi_page,
    "picks.md": picks_page,
    "audit.md": audit_page,
    "permissions.md": permissions_page,
    "doctor.md": doctor_page,
}


def outdated() -> list[str]:
    """The pages whose text is not what the code says."""
    return [
        name
        for name, page in PAGES.items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text() != page()
    ]


def main(check: bool) -> int:
    """Rewrite the pages, or only check them; returns the exit code."""
    stale = outdated()
    if check:
        for name in stale:
            say(f"docs/reference/{name} is out of date: run `python -m docs.generate`")
        return 1 if stale else 0
    REFERENCE.mkdir(exist_ok=True)
    for name in stale:
        (REFERENCE / name).write_text(PAGES[name]())
        say(f"docs/reference/{name} is new")
    return 0


if __name__ == "__main__":
    leave(main(check="--check" in sys.argv[1:]))
