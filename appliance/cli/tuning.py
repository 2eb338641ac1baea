"""`appliance models tune`: measure settings of the engine on this box, and keep what is better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.models import ModelId
from appliance.cli.output import Progress, document, say, table, write

if TYPE_CHECKING:
    from appliance.control.tuning import Result
    from appliance.proof.tuning import Row

_HOW = "Each change was measured in turn with what there was before, and is compared with that."


def tune(
    context: typer.Context,
    model_id: ModelId = None,
    minutes: Annotated[float, typer.Option(min=0.1, max=600, help="How long it may take.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Measure threads, slots, batches, caches and guessing ahead on this box, and keep what is at least 5% faster.

    Nothing that runs is changed or restarted: what was found holds from the next start on, unless the
    settings file says otherwise. While somebody is served it waits.

    Example: appliance models tune --minutes 10
    """
    from appliance.control.plan import catalogue, chosen_model
    from appliance.control.tuning import tune as tune_now

    home = home_of(context)
    settings = settings_of(home)
    model = catalogue(home).get(model_id) if model_id else chosen_model(home, settings)
    if model is None:
        say("The engine is somebody else's: there is nothing to tune.")
        if as_json:
            document({"id": None, "changed": False})
        return
    say(f"Tuning {model.title} for up to {minutes:g} minutes")
    found = tune_now(home, settings, model, minutes * 60, _teller())
    if as_json:
        document(_document(found))
        return
    table(
        ["tried", "reads tok/s", "writes for one", "for all", "than before", "kept"],
        [_row(row) for row in found.rows],
    )
    write(f"\n{_HOW}\n{sentence(found)}\n")


def _teller() -> Any:
    progress = Progress()
    last = ""

    def told(what: str, done: int, about: int) -> None:
        nonlocal last
        words = f"{what} ({done + 1} of about {about})" if about else what
        # Each change is measured several times.
        if what != last:
            progress.count(words, 0, 0)
        last = what

    return told


def _row(row: Row) -> tuple[Any, ...]:
    kept = "yes" if row.kept else f"no: {row.why}"
    return (row.change, *_speeds(row.speed), row.gain and _compared(row.gain), kept)


def _compared(gain: float) -> str:
    return f"{abs(_percent(gain))}% {'faster' if gain >= 1 else 'slower'}"


def _speeds(speed: Any) -> tuple[float | None, ...]:
    return (None, None, None) if speed is None else tuple(round(one, 1) for one in _three(speed))


def _three(speed: Any) -> tuple[float, float, float]:
    return speed.prompt, speed.alone, speed.together


def _percent(gain: float) -> int:
    return round((gain - 1) * 100)


def sentence(found: Result) -> str:
    """What came of it, in words."""
    from appliance.proof.settings import DIMENSIONS

    time = "" if found.gone_through else " Time ran out: more of it may find more (`--minutes`)."
    if not found.changed:
        return f"Nothing was at least 5% better: the settings stay as they are.{time}"
    changes = [
        one.told(found.start, found.best) for one in DIMENSIONS if one.value(found.start) != one.value(found.best)
    ]
    return (
        f"{_percent(found.gain)}% faster: {', '.join(changes)}. In force from the next `appliance up` "
        f"or `appliance models use`.{time}"
    )


def _document(found: Result) -> dict[str, Any]:
    from appliance.control.tuning import as_json

    return {
        "id": found.model.id,
        "changed": found.changed,
        "gain": round(found.gain, 3),
        "in_force": found.found,
        "finished": found.gone_through,
        "sentence": sentence(found),
        "table": [as_json(row) for row in found.rows],
    }
