"""`appliance audit`: who did what, and whether that record is whole."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of
from appliance.cli.output import document, say, write

if TYPE_CHECKING:
    from appliance.audit.chain import Link

app = typer.Typer(help="Who did what, and whether that is all.", no_args_is_help=True, rich_markup_mode=None)

_FOLLOW_S = 0.5
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Format(StrEnum):
    """How events are exported."""

    JSONL = "jsonl"
    CSV = "csv"


@app.command()
def tail(
    context: typer.Context,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, max=100_000, help="How many of the newest.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new events until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the newest events: who did what to whom, and who was refused. Times are in UTC.

    Example: appliance audit tail -n 50
    """
    from appliance.audit import reading
    from appliance.errors import ApplianceError

    home = home_of(context)
    home.prepare()
    if follow and as_json:
        raise ApplianceError("wrong-use", "--json does not go with --follow.", "Leave one of them out.")
    found = reading.newest(home, lines)
    if as_json:
        document(found)
        return
    _tell(found)
    next_seq = found[-1]["seq"] + 1 if found else 1
    while follow:
        time.sleep(_FOLLOW_S)
        found = list(reading.events(home, next_seq))
        _tell(found)
        next_seq = found[-1]["seq"] + 1 if found else next_seq


@app.command()
def verify(
    context: typer.Context,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="HEAD", help="A head that an earlier verify has shown; may be given several times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that no event was edited, removed, added or cut off; exit code 1 when one was.

    Write the head that it shows down elsewhere: given back with --expect, it also finds that the whole state folder
    was replaced by an older copy.

    Example: appliance audit verify
    """
    from appliance.audit import reading
    from appliance.audit.vault import broken

    home = home_of(context)
    home.prepare()
    found = reading.verify(home, [_head(text) for text in expect or []])
    if found.fault is not None:
        raise broken(found.fault)
    head = f"{found.last.seq}:{found.last.mac}"
    if as_json:
        document({"whole": True, "events": found.events, "head": head, "after_anchor": found.ahead})
        return
    write(f"The audit log is whole: {found.events} events.\nHead: {head}\n")
    if found.ahead:
        say(
            f"The newest {found.ahead} came just before something was cut off, as by a kill. The next event seals them."
        )


@app.command()
def export(
    context: typer.Context,
    since: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Begin with this event.")] = 0,
    format: Annotated[Format, typer.Option(help="jsonl: a JSON object a line; csv: for a spreadsheet.")] = Format.JSONL,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, whole or not at all; else to standard output.")
    ] = None,
) -> None:
    """Write events out for other programs, or to keep a copy off this machine.

    Example: appliance audit export --since 1000 --output audit.jsonl
    """
    from appliance.audit import reading
    from appliance.errors import ApplianceError
    from appliance.store.files import replacing

    home = home_of(context)
    home.prepare()
    pieces = (_json_lines if format is Format.JSONL else _csv_lines)(reading.events(home, since))
    if output is None:
        for piece in pieces:
            write(piece)
        return
    try:
        with replacing(output.absolute(), 0o600) as file:
            for piece in pieces:
                file.write(piece.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ApplianceError(
            "wrong-use", f"{output} cannot be written: {error.strerror or error}.", "Name another file with --output."
        ) from error


@app.command()
def restart(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Json = False,
) -> None:
    """Put a damaged audit log aside as a file, and begin another whose first event says so.

    Until then nothing is put on a log whose end, key or anchor is damaged, so nothing that must be on it happens.

    Example: appliance audit restart --yes
    """
    from appliance.audit import restart as restarting
    from appliance.errors import ApplianceError

    home = home_of(context)
    home.prepare()
    fault = restarting.damaged(home)
    if dry_run or not yes:
        say(f"{fault.words} All events would go into a file beside the database, and a new log would begin.")
    if dry_run:
        if as_json:
            document({"fault": fault.trouble, "seq": fault.seq, "file": None})
        return
    if not yes:
        raise ApplianceError("needs-yes", "Nothing was changed.", "To go ahead: appliance audit restart --yes")
    aside = restarting.restart(home, fault)
    if as_json:
        document({"fault": fault.trouble, "seq": fault.seq, "file": str(aside.file), "events": aside.events})
    else:
        say(f"A new audit log has begun. The damaged one, {aside.events} events, is in {aside.file}.")


def _tell(found: Iterable[dict[str, Any]]) -> None:
    from appliance.audit.reading import words

    for shown in found:
        request = f"  [{shown['request_id']}]" if shown["request_id"] else ""
        line = f"{shown['seq']:>6}  {str(shown['at'])[:19].replace('T', ' ')}  {words(shown)}{request}\n"
        # An edited row may hold anything; a terminal gets to see only what can be printed.
        write("".join(one if one.isprintable() or one == "\n" else "?" for one in line))


def _json_lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    for shown in found:
        yield json.dumps(shown, ensure_ascii=True, default=repr) + "\n"


def _csv_lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    from appliance.audit.reading import NAMES

    yield _csv_line(NAMES)
    for shown in found:
        facts = json.dumps(shown["facts"], ensure_ascii=False, default=repr)
        yield _csv_line([facts if name == "facts" else shown[name] for name in NAMES])


def _csv_line(cells: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(f"'{cell}" if str(cell).startswith(_FORMULA) else cell for cell in cells)
    return line.getvalue()


def _head(text: str) -> Link:
    from appliance.audit.chain import Link
    from appliance.errors import ApplianceError

    match = _HEAD.fullmatch(text)
    if match is None:
        raise ApplianceError(
            "wrong-use", f"{text!r} is not a head.", "Use what `appliance audit verify` has shown, as 117:ab12..."
        )
    return Link(int(match[1]), match[2])
