"""How well the rule of `auto` tells simple prompts from others, beside two naive rules.

python -m bench.routing                 the rule as it is: confusion tables, and what goes wrong
python -m bench.routing --search        the thresholds that have the best balanced accuracy

`false small`: prompts that need the large model and would get the small one, of all that need the large one. The
exit status is 1 when that is more than 5% for either half of the prompts.
"""

from __future__ import annotations

import argparse
import sys
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

import orjson

from appliance.policy.body import EngineRequest, estimate_tokens
from appliance.policy.chat import read
from appliance.policy.routing import Rules, features, judge
from appliance.terms import RoutingTerms
from bench.prompts import HARD, REQUESTS, SIMPLE

MOST_FALSE_SMALL: Final = 0.05
# A naive rule: so many characters or fewer are simple.
LENGTH: Final = 40
Rule = Callable[[EngineRequest], bool]


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled request. `choosing` is whether thresholds were chosen by it; the others check them."""

    kind: str
    simple: bool
    choosing: bool
    wanted: EngineRequest
    last: str


@dataclass(frozen=True, slots=True)
class Counts:
    """A confusion table: simple and hard prompts, and how many of each went to the small model."""

    simple: int
    simple_to_small: int
    hard: int
    hard_to_small: int
    tokens: int
    tokens_to_small: int

    @property
    def false_small(self) -> float:
        """The share of hard prompts that would get the small model."""
        return self.hard_to_small / self.hard

    @property
    def balanced(self) -> float:
        """The mean of the two shares that went where they belong."""
        return (self.simple_to_small / self.simple + 1 - self.false_small) / 2


def cases() -> Iterator[Case]:
    """Every prompt as the request that a client would send."""
    for simple, kinds in ((True, SIMPLE), (False, HARD)):
        for kind, texts in kinds.items():
            bodies = ({"messages": [{"role": "user", "content": text}]} for text in texts)
            yield from _cases(kind, simple, bodies)
    for kind, (simple, requests) in REQUESTS.items():
        yield from _cases(kind, simple, iter(requests))


def _cases(kind: str, simple: bool, bodies: Iterator[dict[str, Any]]) -> Iterator[Case]:
    for place, body in enumerate(bodies):
        wanted = read(orjson.dumps({"model": "auto", **body}))
        yield Case(kind, simple, place % 2 == 0, wanted, body["messages"][-1]["content"])


def counted(found: list[Case], rule: Rule) -> Counts:
    """A rule's confusion table."""
    small = [one for one in found if rule(one.wanted)]
    simple = [one for one in found if one.simple]
    right = sum(one.simple for one in small)
    return Counts(len(simple), right, len(found) - len(simple), len(small) - right, _tokens(found), _tokens(small))


def _tokens(found: list[Case]) -> int:
    """Prompt tokens, estimated."""
    return sum(estimate_tokens(one.wanted.prompt_bytes) for one in found)


def by_terms(terms: RoutingTerms) -> Rule:
    """The rule of `auto`."""
    rules = Rules(terms)
    return lambda wanted: judge(features(wanted, rules), rules)[0]


def by_length(most: int) -> Rule:
    """A naive rule: short is simple."""
    rules = Rules(RoutingTerms())
    return lambda wanted: features(wanted, rules).message <= most


def table(found: list[Case]) -> str:
    """The rule beside others, as Markdown."""
    terms = RoutingTerms()
    named: dict[str, Rule] = {
        "the rule": by_terms(terms),
        "the rule without words": by_terms(replace(terms, small_words=())),
        f"length only: {LENGTH} characters": by_length(LENGTH),
        "always large": lambda wanted: False,
    }
    lines = [
        "| rule | simple to small | hard to small (false small) | balanced accuracy | prompt tokens to small |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, rule in named.items():
        one = counted(found, rule)
        lines.append(
            f"| {name} | {one.simple_to_small} of {one.simple} | {one.hard_to_small} of {one.hard}"
            f" ({one.false_small:.1%}) | {one.balanced:.2f} | {one.tokens_to_small / one.tokens:.1%} |"
        )
    return "\n".join(lines)


def kinds(found: list[Case]) -> str:
    """How many of each kind of work go to the small model."""
    rule = by_terms(RoutingTerms())
    names = dict.fromkeys((one.kind, one.simple) for one in found)
    lines = ["| kind of work | label | to small |", "| --- | --- | --- |"]
    for kind, simple in names:
        of_kind = [one for one in found if (one.kind, one.simple) == (kind, simple)]
        small = sum(rule(one.wanted) for one in of_kind)
        lines.append(f"| {kind} | {'simple' if simple else 'hard'} | {small} of {len(of_kind)} |")
    return "\n".join(lines)


def search(found: list[Case]) -> list[tuple[float, Counts, RoutingTerms]]:
    """The best thresholds by the choosing half, best first."""
    half = [one for one in found if one.choosing]
    tried = []
    grid = product((0, 8, 12, 16, 20, 30, 40), (1, 2, 3, 4, 5, 6, 8), (60, 120, 240, 480), (1, 2, 3, 5, 8))
    for short, within, characters, turns in grid:
        terms = RoutingTerms(
            short_characters=short, small_words_within=within, small_characters=characters, small_turns=turns
        )
        one = counted(half, by_terms(terms))
        if one.false_small <= MOST_FALSE_SMALL:
            tried.append((one.balanced, one, terms))
    return sorted(tried, key=lambda row: row[0], reverse=True)


def speed(found: list[Case]) -> float:
    """Microseconds that the rule takes for a prompt, the best of some rounds."""
    rule, times = by_terms(RoutingTerms()), 20
    wanted = [one.wanted for one in found]
    best = min(timeit.repeat(lambda: [rule(one) for one in wanted], number=times, repeat=20))
    return best / times / len(wanted) * 1e6


def main() -> int:
    """Print the tables; returns the exit status."""
    options = argparse.ArgumentParser(description="How well the rule of `auto` tells simple prompts from others.")
    options.add_argument("--search", action="store_true", help="try thresholds instead")
    found = list(cases())
    halves = {
        "choosing": [one for one in found if one.choosing],
        "checking": [one for one in found if not one.choosing],
    }
    if options.parse_args().search:
        for balanced, one, terms in search(found)[:20]:
            print(
                f"{balanced:.3f}  short_characters {terms.short_characters}, small_words_within "
                f"{terms.small_words_within}, small_characters {terms.small_characters}, small_turns "
                f"{terms.small_turns}: {one.simple_to_small} of {one.simple}, {one.hard_to_small} of {one.hard}"
            )
        return 0
    print(f"All {len(found)} prompts\n\n{table(found)}\n\n{kinds(found)}\n")
    for name, half in halves.items():
        print(f"The {name} half\n\n{table(half)}\n")
    rule = by_terms(RoutingTerms())
    print("False small:")
    for case in found:
        if not case.simple and rule(case.wanted):
            print(f"  {case.kind}: {case.last}")
    print(f"\nThe rule takes {speed(found):.1f} us a prompt")
    worst = max(counted(half, rule).false_small for half in halves.values())
    return 1 if worst > MOST_FALSE_SMALL else 0


if __name__ == "__main__":
    sys.exit(main())
