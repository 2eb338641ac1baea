"""Graphics cards: whether they can be used, how hot they are, and whether their clocks are held down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.doctor.check import DRIVERS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation
from appliance.hardware.cards import CardReader
from appliance.hardware.clocks import cards_held_down
from appliance.hardware.probe import probe

# Cards slow themselves down from here on, or soon after.
HOT_C: Final = 88


def look(situation: Situation) -> Iterator[Finding]:
    """Why cards cannot be used, or are slower than they could be."""
    with DRIVERS:
        problems = probe(tree=situation.tree).problems
        now, held = CardReader().read(), cards_held_down()
    for one in problems:
        yield Finding("card-unusable", f"{one.subject}: {one.reason}", f"{one.subject}, {one.code}")
    for card in now.cards if now else ():
        if card.temperature_c is not None and card.temperature_c >= HOT_C:
            name = card.name or f"card {card.index}"
            words = f"The graphics card {name} is at {card.temperature_c} °C."
            yield Finding("card-hot", words, f"card {card.index}", facts={"celsius": card.temperature_c})
    if held:
        yield Finding("clocks-held-down", f"{held[:1].upper()}{held[1:]}")


CHECK = Check("cards", "Nothing is wrong with graphics cards.", look)
