"""`appliance models plan` and `fit`: which models this machine can run, and why."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of
from appliance.cli.output import document, table, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.hardware.facts import Hardware
    from appliance.selector.memory import Need, Part
    from appliance.selector.places import Place
    from appliance.selector.plan import PassedOver, Placement, SetPlan, Upgrade

Facts = Annotated[
    Path | None,
    typer.Option("--hardware", metavar="FILE", help="Plan for another machine: facts saved by `hardware --json`."),
]
# Of the models that were passed over, the table shows the best.
_SHOWN = 8
_CAUSES = {
    "weights": "weights",
    "repack": "weights in the processor's own order",
    "kv": "conversations under way (KV cache)",
    "state": "conversations under way (states)",
    "checkpoints": "conversations to go back to",
    "compute": "computing",
    "server": "the server itself",
    "context": "CUDA",
    "measured": "what was measured beyond the plan",
}


class KvType(StrEnum):
    """How conversations under way are held."""

    f16 = "f16"
    q8_0 = "q8_0"


def plan(
    context: typer.Context,
    hardware: Facts = None,
    seats: Annotated[int, typer.Option(min=1, max=1000, help="People who are to use it.")] = 10,
    tokens: Annotated[
        int, typer.Option("--context", min=512, max=1_048_576, help="Tokens of the longest conversation.")
    ] = 8192,
    size_class: Annotated[
        str, typer.Option("--class", metavar="CLASS", help="Only chat models of this class: 4b, 7b, 13b or 30b.")
    ] = "",
    floor: Annotated[float, typer.Option(min=0, max=1000, help="Least tokens a second for one user.")] = 8.0,
    as_json: Json = False,
) -> None:
    """Choose the models that fit this machine together, and say why: memory, speed, and what was passed over.

    Nothing is fetched or changed. Sizes of files that are not here yet are the catalogue's.

    Example: appliance models plan --seats 20
    """
    from appliance.control import planning
    from appliance.selector.plan import Wishes

    home = home_of(context)
    facts = planning.facts(home, hardware)
    found, better = planning.plan(home, facts, Wishes(seats, tokens, size_class, floor))
    if as_json:
        document(_document(found, better, facts))
    else:
        _show(found, better, facts)


def fit(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="A model file.")],
    tokens: Annotated[int, typer.Option("--context", min=256, max=1_048_576, help="Tokens of each slot.")] = 8192,
    slots: Annotated[int, typer.Option(min=1, max=64, help="Requests that are worked on at once.")] = 4,
    kv: Annotated[KvType, typer.Option(help="How conversations under way are held.")] = KvType.f16,
    repack: Annotated[
        bool, typer.Option("--repack/--no-repack", help="Hold weights in the processor's own order too: faster.")
    ] = True,
    hardware: Facts = None,
    as_json: Json = False,
) -> None:
    """Say how much memory one model file would need, by cause, and whether this machine has it.

    Example: appliance models fit model.gguf --context 8192 --slots 4
    """
    from appliance.control import planning
    from appliance.selector.memory import Load

    facts = planning.facts(home_of(context), hardware)
    need, place, fits = planning.fit(file, Load(tokens, slots, kv.value, repack), facts)
    if as_json:
        document({**_need(need), "fits": fits, "free": _free(place)})
        return
    table(["memory", "for", "MiB"], _rows(need))
    write(f"\n{_verdict(need, place, fits)}\n")


def _verdict(need: Need, place: Place, fits: bool) -> str:
    from appliance.selector.places import host_taken
    from appliance.units import show_bytes

    words = "It fits" if fits else "It does not fit"
    if need.devices:
        return f"{words}: {_sizes(need.device_bytes)} of graphics memory needed, {_sizes(place.gpus)} can be had."
    return f"{words}: {show_bytes(host_taken(need))} needed, {show_bytes(place.host)} can be had."


def _sizes(sizes: Sequence[int]) -> str:
    from appliance.units import show_bytes

    return " + ".join(show_bytes(size) for size in sizes)


def _show(found: SetPlan, better: Upgrade | None, facts: Hardware) -> None:
    if not found.models:
        write("No model fits this machine.\n")
    else:
        table(
            ["for", "model", "where", "context", "slots", "KV", "threads", "tok/s for one", "for all"],
            [_model_row(placement) for placement in found.models],
        )
        write("\n")
        rows = [(placement.model.role, *row) for placement in found.models for row in _rows(placement.need)]
        table(["model", "memory", "for", "MiB"], rows)
        write("\n")
        table(
            ["memory, MiB", "in all", "other programs", "screen", "reserve", "for models", "planned", "left"],
            [_memory_row(one) for one in _memories(found, facts)],
        )
    if found.passed_over:
        write("\n")
        table(
            ["passed over", "because it"],
            [(passed.model.id, passed.reason) for passed in _runners_up(found)],
        )
    if better is not None:
        write(f"\nWith {better.memory} it could be {better.model.title} ({better.model.quantization}).\n")


def _runners_up(found: SetPlan) -> list[PassedOver]:
    """The best families that were passed over, each by its smallest file: even that was not to be had."""
    smallest = {passed.model.family.id: passed for passed in found.passed_over}
    return list(smallest.values())[:_SHOWN]


def _model_row(placement: Placement) -> tuple[Any, ...]:
    load = placement.load
    where = "graphics card" if placement.on_gpu else "processor"
    speeds = (round(placement.alone), round(placement.together)) if placement.model.can_write else (None, None)
    shape = (load.context, load.slots, load.kv, placement.threads)
    return (placement.model.role, placement.model.id, where, *shape, *speeds)


def _memories(found: SetPlan, facts: Hardware) -> list[dict[str, Any]]:
    """Each memory that the plan is made for, in bytes: where all of it goes."""
    from appliance.selector.places import budgets

    left = (found.left.host, *found.left.gpus)
    return [
        {
            "memory": budget.name,
            "total": budget.total,
            "others": budget.others,
            "display": budget.display,
            "reserve": budget.reserve,
            "free": budget.free,
            "planned": budget.free - rest,
            "left": rest,
        }
        for budget, rest in zip(budgets(facts), left, strict=False)
    ]


def _memory_row(one: dict[str, Any]) -> tuple[Any, ...]:
    from appliance.units import MIB

    name, *sizes = one.values()
    return (name, *(size // MIB for size in sizes))


def _rows(need: Need) -> list[tuple[str, str, int]]:
    from appliance.units import MIB

    def shown(where: str, parts: tuple[Part, ...]) -> list[tuple[str, str, int]]:
        return [(where, _CAUSES[part.cause], -(-part.size // MIB)) for part in parts if part.size]

    rows = shown("taken", need.host) + shown("file, mapped", need.mapped)
    for index, parts in enumerate(need.devices):
        rows += shown(f"graphics card {index + 1}", parts)
    return rows


def _need(need: Need) -> dict[str, Any]:
    def split(parts: tuple[Part, ...]) -> dict[str, int]:
        return {part.cause: part.size for part in parts}

    return {
        "host_bytes": need.host_bytes,
        "mapped_bytes": need.mapped_bytes,
        "device_bytes": need.device_bytes,
        "host": split(need.host),
        "mapped": split(need.mapped),
        "devices": [split(parts) for parts in need.devices],
    }


def _free(place: Place) -> dict[str, Any]:
    return {"host_bytes": place.host, "device_bytes": list(place.gpus)}


def _document(found: SetPlan, better: Upgrade | None, facts: Hardware) -> dict[str, Any]:
    return {
        "models": [_placement(placement) for placement in found.models],
        "memory": _memories(found, facts),
        "free": _free(found.place),
        "left": _free(found.left),
        "passed_over": [{"id": passed.model.id, "reason": passed.reason} for passed in found.passed_over],
        "upgrade": better and {"memory": better.memory, "id": better.model.id},
    }


def _placement(placement: Placement) -> dict[str, Any]:
    model, load = placement.model, placement.load
    return {
        "role": model.role,
        "id": model.id,
        "quantization": model.quantization,
        "where": "gpu" if placement.on_gpu else "cpu",
        "context": load.context,
        "slots": load.slots,
        "kv": load.kv,
        "threads": placement.threads,
        "gpu_layers": model.family.layers + 1 if placement.on_gpu else 0,
        "tokens_per_second": {"alone": round(placement.alone, 1), "together": round(placement.together, 1)},
        **_need(placement.need),
    }
