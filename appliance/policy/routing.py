"""Which model answers: public names, the rule of `auto`, and who comes next when a model cannot answer. No I/O.

`auto` is answered by the small model when a request is known to be simple, and by the large one when not:

    small   a last message of a few characters, or a short one whose first words name a small task
    large   everything else, and whatever has tools, a JSON schema, code, many turns or a long answer

The first reason that holds decides, and stands in the ledger. The thresholds are settings, measured by `bench.routing`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from appliance.deployment import Deployment, Engine
from appliance.errors import ApplianceError
from appliance.policy.body import EngineRequest
from appliance.terms import RoutingTerms

AUTO: Final = "auto"
SMALL: Final = "small"
# Engines of these roles cannot converse.
SEARCH_ROLES: Final = frozenset({"embed", "rerank"})
LONGEST_REASON: Final = 100
NO_SMALL: Final = "no small model runs"
ONLY_ONE: Final = "the only model"
# The engine did not take the request, or gave it back before a byte of the answer.
_OTHERS_MAY: Final = frozenset({"engine-unavailable", "engine-failed", "engine-stopped", "queue-full", "queue-timeout"})
# Keys with one scope of models share what is known of it.
_MOST_SCOPES: Final = 1_000
# The first words stand in so many characters; signs of code are looked for in so many.
_HEAD: Final = 64
_CODE_IN: Final = 20_000
_CODE_LINES: Final = (";\n", "{\n", "}\n", ":\n    ", ":\n\t")
_AFTER_A_WORD: Final = ("", ":", ",", ".", "?", "!")


class Features(NamedTuple):
    """What the rule knows of a request, and none of its text.

    `message` and `conversation` are characters, of the last user message and of all messages; `turns` counts user
    messages; `answer` is how many tokens it asks for at most, 0 where it does not say. `small_task` is whether the
    first words of the last user message hold one of the words that name a small task.
    """

    message: int
    conversation: int
    turns: int
    answer: int
    tools: bool
    schema: bool
    reasoning: bool
    code: bool
    small_task: bool


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. `target` and `fallbacks` are public names, in the order in which they are asked.

    `reason` is for the ledger and holds nothing of the prompt; it is empty where the caller named the model.
    """

    target: str
    reason: str = ""
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Roles:
    """The models that may answer one caller, by public name; `large` and `small` are empty where there is none.

    `asked` has the route of every name that a conversation may ask for, but for `auto`; `after` whom to ask after a
    target that cannot answer. `small_context` is in tokens, None where nobody knows it.
    """

    large: str
    small: str
    small_context: int | None
    asked: Mapping[str, Route]
    after: Mapping[str, tuple[str, ...]]


class Rules:
    """The terms of routing, ready for use."""

    def __init__(self, terms: RoutingTerms) -> None:
        self.terms = terms
        # With what may stand behind a word, so that a message need only be split at its spaces.
        self.words = frozenset(word.lower() + end for word in terms.small_words for end in _AFTER_A_WORD)
        self.first = terms.small_words_within
        self.short = f"at most {terms.short_characters} characters"
        self.answer = f"asks for more than {terms.small_answer_tokens} tokens"
        self.turns = f"more than {terms.small_turns} turns"
        self.conversation = f"more than {terms.small_conversation} characters in all"
        self.long = f"more than {terms.small_characters} characters"


def features(wanted: EngineRequest, rules: Rules) -> Features:
    """What the rule looks at. Counting goes backwards, and ends where there are more turns than a small model gets."""
    fields, most = wanted.fields, rules.terms.small_turns
    last, conversation, turns, code = "", 0, 0, False
    for message in reversed(fields["messages"]):
        content = message.get("content")
        if type(content) is not str:
            content = _text(content)
        conversation += len(content)
        if message["role"] == "user":
            if not turns:
                last = content
            turns += 1
            if turns > most:
                break
        if not code and "```" in content:
            code = True
    form = fields.get("response_format")
    return Features(
        len(last),
        conversation,
        turns,
        fields.get("max_tokens", 0),
        bool(fields.get("tools")),
        form is not None and form["type"] != "text",
        fields.get("reasoning_effort") in ("medium", "high"),
        code or _is_code(last[:_CODE_IN]),
        not rules.words.isdisjoint(last[:_HEAD].lower().split(None, rules.first)[: rules.first]),
    )


def _text(content: Any) -> str:
    """The text of a message's parts."""
    return "\n".join([part["text"] for part in content]) if content else ""


def _is_code(text: str) -> bool:
    """Whether a message has signs of code in it, or two lines that end like code."""
    # Written out: a loop takes twice as long.
    if (
        "();" in text or "=>" in text or "->" in text or "</" in text or "==" in text
        or "){" in text or "):" in text or "SELECT " in text or "#include" in text
    ):  # fmt: skip
        return True
    return "\n" in text and sum([text.count(end) for end in _CODE_LINES]) >= 2


def judge(found: Features, rules: Rules) -> tuple[bool, str]:
    """Whether a request is for the small model, and why."""
    terms = rules.terms
    if not found.turns:
        return False, "no message of a user"
    kind = _kind(found, terms)
    if kind:
        return False, kind
    if found.answer > terms.small_answer_tokens:
        return False, rules.answer
    if found.turns > terms.small_turns:
        return False, rules.turns
    if found.conversation > terms.small_conversation:
        return False, rules.conversation
    if found.message <= terms.short_characters:
        return True, rules.short
    if found.message > terms.small_characters:
        return False, rules.long
    return (True, "a small task") if found.small_task else (False, "not known to be simple")


def _kind(found: Features, terms: RoutingTerms) -> str:
    """The kind of request that is never for the small model, or nothing."""
    if found.tools and terms.tools_to_large:
        return "tools"
    if found.schema and terms.schema_to_large:
        return "JSON answer"
    if found.reasoning and terms.reasoning_to_large:
        return "reasoning effort"
    return "code" if found.code and terms.code_to_large else ""


def decide(
    name: str, found: Features | None, rules: Rules, roles: Roles, allowed: frozenset[str] = frozenset()
) -> Route:
    """The route of a conversation that asks for a public name. Raises model-not-found.

    `found` may be None for every name but `auto`, and for that where there is no choice. Of the names that there are,
    whoever is `allowed` only some (empty is all) hears of those.
    """
    if name == AUTO and roles.large:
        small, reason = _choose(found, rules, roles) if found else (False, ONLY_ONE)
        target = roles.small if small and roles.small else roles.large
        if rules.terms.shadow and found:
            target, reason = roles.large, f"shadow: {SMALL if small else 'large'}, {reason}"
        elif not roles.small or roles.small == roles.large:
            reason = ONLY_ONE
        return Route(target, reason[:LONGEST_REASON], roles.after[target])
    route = roles.asked.get(name)
    if route is None:
        names = {*roles.asked, *([AUTO] if roles.large else [])}
        known = ", ".join(sorted(names & allowed if allowed else names))
        raise ApplianceError(
            "model-not-found",
            f"There is no model '{name[:60]}' for conversations here.",
            f"Served are: {known}." if known else "Ask your admin for a model.",
            param="model",
        )
    return route


def _choose(found: Features, rules: Rules, roles: Roles) -> tuple[bool, str]:
    """As `judge`, but a small model is not asked what it cannot hold, reckoned at two characters a token."""
    small, reason = judge(found, rules)
    if small and roles.small_context is not None and found.conversation // 2 + found.answer > roles.small_context:
        return False, "too long for the small model"
    return small, reason


def roles_of(
    deployment: Deployment, allowed: frozenset[str] = frozenset(), cloud: tuple[str, ...] = (), *, fallback: bool = True
) -> Roles:
    """Who may answer a caller whose key is for the `allowed` models (empty is all) and who may use the `cloud` models.

    Whether a caller may ask for a name is decided elsewhere: here `allowed` bounds what is chosen for them. A key that
    is for `auto`, and for no model that runs here, leaves the choice among all of these.
    """
    engines = [engine for engine in deployment.engines if not engine.provider and engine.role not in SEARCH_ROLES]
    usable = [engine for engine in engines if not allowed or not allowed.isdisjoint(engine.names)]
    if AUTO in allowed and not usable:
        usable = engines
    usable.sort(key=lambda engine: engine.role == SMALL)
    order = [_name(engine, allowed) for engine in usable]
    order += [name for name in cloud if name not in order and (not allowed or name in allowed)]

    def besides(own: str) -> tuple[str, ...]:
        return tuple(name for name in order if name != own) if fallback else ()

    asked: dict[str, Route] = {}
    for engine in engines:
        role, *ids = engine.names
        asked.setdefault(role, Route(role, "", besides(_name(engine, allowed))))
        for name in ids:
            asked.setdefault(name, Route(name))
    for name in cloud:
        asked.setdefault(name, Route(name))
    if engines and SMALL not in asked:
        stands_in = _name((usable or engines)[0], allowed)
        asked[SMALL] = Route(stands_in, NO_SMALL, besides(stands_in))
    small = next((engine for engine in usable if engine.role == SMALL), None)
    return Roles(
        large=order[0] if order else "",
        small=_name(small, allowed) if small else "",
        small_context=small.context if small else None,
        asked=asked,
        after={name: besides(name) for name in order},
    )


def _name(engine: Engine, allowed: frozenset[str]) -> str:
    """The name to route to an engine by: its role, which outlives an exchange of its model, where the key is for it."""
    return next((name for name in engine.names if name in allowed), engine.names[0])


def next_target(
    route: Route, code: str, tried: Collection[str], *, begun: bool, tokens: int, contexts: Mapping[str, int]
) -> str | None:
    """Whom to ask next after an error, or None: then the error is the answer.

    `tried` are the names that were asked already, `begun` is whether any byte of an answer went out. `tokens` is the
    conversation's length, estimated, and `contexts` what each name holds: who cannot hold it is passed over.
    """
    if begun or code not in _OTHERS_MAY:
        return None
    return next(
        (name for name in route.fallbacks if name not in tried and tokens <= contexts.get(name, tokens)),
        None,
    )


class Router:
    """Routes of one deployment. Made anew with each."""

    def __init__(self, rules: Rules, deployment: Deployment) -> None:
        self._rules = rules
        self._deployment = deployment
        self._roles: dict[tuple[frozenset[str], tuple[str, ...]], Roles] = {}
        self.contexts = {name: one.context for one in reversed(deployment.engines) if one.context for name in one.names}

    def roles(self, allowed: frozenset[str] = frozenset(), cloud: tuple[str, ...] = ()) -> Roles:
        """As `roles_of`, kept for the next request with the same rights."""
        key = (allowed, cloud)
        found = self._roles.get(key)
        if found is None:
            if len(self._roles) >= _MOST_SCOPES:
                self._roles.clear()
            found = roles_of(self._deployment, allowed, cloud, fallback=self._rules.terms.fallback)
            self._roles[key] = found
        return found

    def route(self, wanted: EngineRequest, allowed: frozenset[str] = frozenset(), cloud: tuple[str, ...] = ()) -> Route:
        """The route of a conversation. Raises model-not-found."""
        roles, rules = self.roles(allowed, cloud), self._rules
        choice = wanted.model == AUTO and (roles.small or rules.terms.shadow)
        return decide(wanted.model, features(wanted, rules) if choice else None, rules, roles, allowed)
