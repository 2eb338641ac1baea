"""Which model answers: the rule of `auto`, public names, and whom to ask after a failure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.deployment import Deployment, Engine
from appliance.errors import ApplianceError
from appliance.policy.body import EngineRequest
from appliance.policy.chat import read
from appliance.policy.routing import (
    LONGEST_REASON,
    NO_SMALL,
    ONLY_ONE,
    Features,
    Route,
    Router,
    Rules,
    decide,
    features,
    judge,
    next_target,
    roles_of,
)
from appliance.terms import RoutingTerms

TERMS = RoutingTerms()
RULES = Rules(TERMS)
CHAT = Engine("chat", "big", ("chat", "big"), "big", socket="/run/chat.sock", context=8192)
TINY = Engine("small", "tiny", ("small", "tiny"), "tiny", socket="/run/small.sock", context=4096)
EMBED = Engine("embed", "vectors", ("embed", "vectors"), "vectors", socket="/run/embed.sock")
BOTH = Deployment("1", (CHAT, TINY, EMBED))
ALONE = Deployment("1", (CHAT, EMBED))
HARD_TEXT = "Is a verbal employment contract valid in this country?"


def wanted(text: str = HARD_TEXT, model: str = "auto", **more: Any) -> EngineRequest:
    """A request with one user message."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return read(orjson.dumps({"model": model, "messages": messages, **more}))


def found(text: str = HARD_TEXT, **more: Any) -> Features:
    """The features of a request with one user message."""
    return features(wanted(text, **more), RULES)


def routed(request: EngineRequest, terms: RoutingTerms = TERMS, deployment: Deployment = BOTH) -> tuple[str, str]:
    """Target and reason."""
    route = Router(Rules(terms), deployment).route(request)
    return route.target, route.reason


TOOL = {"type": "function", "function": {"name": "weather"}}
SCHEMA = {"type": "json_schema", "json_schema": {"schema": {}}}


@pytest.mark.parametrize(
    ("request_", "target", "reason"),
    [
        (wanted("Hello!"), "small", "at most 12 characters"),
        (wanted("Translate into German: the door is open."), "small", "a small task"),
        (wanted("Bitte ins Englische ÜBERSETZEN: Guten Tag."), "small", "a small task"),
        (wanted("Synonym? For 'robust', that is"), "small", "a small task"),
        (wanted("I ask you kindly now to translate a letter."), "chat", "not known to be simple"),
        (wanted(HARD_TEXT), "chat", "not known to be simple"),
        (wanted("Translate: " + "word " * 60), "chat", "more than 240 characters"),
        (wanted("Hello!", tools=[TOOL]), "chat", "tools"),
        (wanted("Hello!", response_format=SCHEMA), "chat", "JSON answer"),
        (wanted("Hello!", response_format={"type": "json_object"}), "chat", "JSON answer"),
        (wanted("Hello!", response_format={"type": "text"}), "small", "at most 12 characters"),
        (wanted("Hello!", reasoning_effort="high"), "chat", "reasoning effort"),
        (wanted("Hello!", reasoning_effort="low"), "small", "at most 12 characters"),
        (wanted("Translate: print();"), "chat", "code"),
        (wanted("Translate ```x```"), "chat", "code"),
        (wanted("Translate\nif x {\n  y = 1;\n}\n"), "chat", "code"),
        (wanted("Hello!", max_tokens=4096), "chat", "too long for the small model"),
        (wanted("Hello!", max_tokens=4097), "chat", "asks for more than 4096 tokens"),
        (wanted("Hello!", max_completion_tokens=5000), "chat", "asks for more than 4096 tokens"),
    ],
)
def test_auto_goes_to_the_small_model_only_when_a_request_is_known_to_be_simple(
    request_: EngineRequest, target: str, reason: str
) -> None:
    assert routed(request_) == (target, reason)


def conversation(*contents: Any) -> EngineRequest:
    """User messages, each with an answer but the last."""
    messages: list[dict[str, Any]] = []
    for content in contents:
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": "Yes."}]
    return read(orjson.dumps({"model": "auto", "messages": messages[:-1]}))


def test_turns_are_user_messages_and_counted_as_far_as_they_matter() -> None:
    assert routed(conversation("a", "b", "c")) == ("small", "at most 12 characters")
    assert routed(conversation("a", "b", "c", "d")) == ("chat", "more than 3 turns")
    assert features(conversation(*"abcdefgh"), RULES).turns == 4
    assert features(conversation("a", "bb", "ccc"), RULES)[:3] == (3, 14, 3)


def test_a_long_past_counts_and_so_does_code_in_it() -> None:
    assert routed(conversation("x" * 4000, "Hello!")) == ("chat", "more than 4000 characters in all")
    assert routed(conversation("```a```", "Hello!")) == ("chat", "code")


def test_text_in_parts_and_no_text_at_all_are_read() -> None:
    parts = [{"type": "text", "text": "Translate"}, {"type": "text", "text": "this word"}]
    assert features(conversation(parts), RULES).message == len("Translate\nthis word")
    assert routed(conversation(parts)) == ("small", "a small task")
    nobody = read(orjson.dumps({"model": "auto", "messages": [{"role": "assistant", "content": None}]}))
    assert routed(nobody) == ("chat", "no message of a user")


def test_each_kind_that_goes_to_the_large_model_can_be_switched_off() -> None:
    calm = replace(TERMS, tools_to_large=False, schema_to_large=False, reasoning_to_large=False, code_to_large=False)
    for more in ({"tools": [TOOL]}, {"response_format": SCHEMA}, {"reasoning_effort": "high"}):
        assert routed(wanted("Hello!", **more), calm)[0] == "small"
    assert routed(wanted("a == b"), calm)[0] == "small"


def test_in_shadow_the_large_model_answers_and_the_reason_tells_of_the_rule() -> None:
    shadow = replace(TERMS, shadow=True)
    assert routed(wanted("Hello!"), shadow) == ("chat", "shadow: small, at most 12 characters")
    assert routed(wanted(), shadow) == ("chat", "shadow: large, not known to be simple")
    assert routed(wanted("Hello!"), shadow, ALONE) == ("chat", "shadow: small, at most 12 characters")
    assert routed(wanted("Hello!", model="small"), shadow) == ("small", "")


def test_with_one_model_auto_and_small_are_that_model_and_the_ledger_says_so() -> None:
    assert routed(wanted(), deployment=ALONE) == ("chat", ONLY_ONE)
    assert routed(wanted("Hello!", model="small"), deployment=ALONE) == ("chat", NO_SMALL)
    only_small = Deployment("1", (TINY,))
    assert routed(wanted(), deployment=only_small) == ("small", ONLY_ONE)


@pytest.mark.parametrize("name", ["chat", "big", "small", "tiny"])
def test_a_name_is_its_own_route_and_needs_no_reason(name: str) -> None:
    assert routed(wanted(model=name)) == (name, "")


@pytest.mark.parametrize("name", ["embed", "vectors", "rerank", "nobody", "Chat", ""])
def test_what_does_not_converse_is_no_target_of_a_conversation(name: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        routed(wanted(model=name))
    assert (caught.value.code, caught.value.param) == ("model-not-found", "model")
    assert caught.value.hint == "Served are: auto, big, chat, small, tiny."


def test_a_key_for_some_models_is_served_by_those() -> None:
    router = Router(RULES, BOTH)
    hello = wanted("Hello!")
    assert router.route(hello, frozenset({"chat"})) == Route("chat", ONLY_ONE)
    assert router.route(hello, frozenset({"big", "auto"})) == Route("big", ONLY_ONE)
    assert router.route(wanted(), frozenset({"tiny"})) == Route("tiny", ONLY_ONE)
    assert router.route(hello, frozenset({"auto"})) == Route("small", "at most 12 characters", ("chat",))
    with pytest.raises(ApplianceError) as caught:
        router.route(hello, frozenset({"embed"}))
    assert caught.value.code == "model-not-found"
    with pytest.raises(ApplianceError) as caught:
        router.route(wanted(model="nobody"), frozenset({"chat", "embed"}))
    assert caught.value.hint == "Served are: chat.", "what the key is not for is nobody's business"


def test_a_role_falls_back_to_other_local_models_and_then_to_the_cloud_and_an_id_never() -> None:
    router = Router(RULES, BOTH)
    cloud = ("cloud-large",)
    assert router.route(wanted(model="chat"), cloud=cloud).fallbacks == ("small", "cloud-large")
    assert router.route(wanted("Hello!"), cloud=cloud).fallbacks == ("chat", "cloud-large")
    assert router.route(wanted(model="big"), cloud=cloud).fallbacks == ()
    assert router.route(wanted(model="cloud-large"), cloud=cloud) == Route("cloud-large")
    assert router.route(wanted(model="chat"), frozenset({"chat"}), cloud).fallbacks == ()
    assert router.route(wanted(model="chat"), frozenset({"chat", "cloud-large"}), cloud).fallbacks == cloud
    assert Router(Rules(replace(TERMS, fallback=False)), BOTH).route(wanted(model="chat")).fallbacks == ()
    assert Router(RULES, Deployment("1", (EMBED,))).route(wanted(), cloud=cloud) == Route("cloud-large", ONLY_ONE)


def following(code: str, *tried: str, begun: bool = False, tokens: int = 10) -> str | None:
    """Whom to ask after `chat`."""
    route = Route("chat", "", ("small", "cloud-large"))
    return next_target(route, code, tried, begun=begun, tokens=tokens, contexts={"chat": 8192, "small": 4096})


@pytest.mark.parametrize(
    "code", ["engine-unavailable", "engine-failed", "engine-stopped", "queue-full", "queue-timeout"]
)
def test_after_a_failure_the_next_one_is_asked_until_there_is_none(code: str) -> None:
    assert following(code, "chat") == "small"
    assert following(code, "chat", "small") == "cloud-large"
    assert following(code, "chat", "small", "cloud-large") is None
    assert following(code, "chat", begun=True) is None
    assert following(code, "chat", tokens=4097) == "cloud-large"


@pytest.mark.parametrize("code", ["engine-refused", "context-too-long", "field-bad-value", "disk-full", "internal"])
def test_a_refusal_and_a_failure_of_our_own_are_the_answer(code: str) -> None:
    assert following(code, "chat") is None


TEXT = st.text(max_size=40)
COUNT = st.integers(0, 2**31)
TERM = st.builds(
    RoutingTerms,
    short_characters=COUNT,
    small_characters=COUNT,
    small_conversation=COUNT,
    small_turns=COUNT,
    small_answer_tokens=COUNT,
    small_words=st.lists(TEXT, max_size=3).map(tuple),
    small_words_within=st.integers(0, 10),
    shadow=st.booleans(),
    fallback=st.booleans(),
)
FEATURE = st.builds(Features, COUNT, COUNT, COUNT, COUNT, *[st.booleans()] * 5)
SERVED = st.lists(st.sampled_from([CHAT, TINY, EMBED]), min_size=1, max_size=3, unique=True).map(tuple)
NAMES = st.sampled_from(["auto", "chat", "small", "embed", "big", "tiny", "cloud", "x"])


@given(NAMES, st.none() | FEATURE, TERM, SERVED, st.frozensets(NAMES, max_size=3), st.booleans())
def test_every_request_has_a_route_or_no_model(
    name: str,
    seen: Features | None,
    terms: RoutingTerms,
    engines: tuple[Engine, ...],
    scope: frozenset[str],
    more: bool,
) -> None:
    cloud = ("cloud",) if more else ()
    roles = roles_of(Deployment("1", engines), scope, cloud, fallback=terms.fallback)
    try:
        route = decide(name, seen, Rules(terms), roles)
    except ApplianceError as error:
        assert error.code == "model-not-found"
        return
    served = {name for engine in engines if engine.role != "embed" for name in engine.names} | set(cloud)
    assert {route.target, *route.fallbacks} <= served
    assert route.target not in route.fallbacks
    assert len(set(route.fallbacks)) == len(route.fallbacks)
    assert len(route.reason) <= LONGEST_REASON


WORDS = st.text("abcdefghij klmnopqrstuvwxyz{};=\n`", min_size=1, max_size=300)


@given(WORDS, st.lists(WORDS, max_size=3), TERM)
def test_no_reason_holds_anything_of_a_prompt(text: str, before: list[str], terms: RoutingTerms) -> None:
    request = conversation(*before, text)
    rules = Rules(terms)
    reason = judge(features(request, rules), rules)[1]
    possible = {rules.short, rules.long, rules.turns, rules.answer, rules.conversation, "code", "a small task"}
    assert reason in possible | {"not known to be simple", "no message of a user"}
