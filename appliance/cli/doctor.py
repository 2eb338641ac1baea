"""`appliance doctor` and `appliance report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import Json, home_of
from appliance.cli.output import document, leave, say, write

if TYPE_CHECKING:
    from appliance.doctor.run import Result

_MARKS = {"ok": " ", "note": "-", "warning": "!", "fault": "!!"}


def doctor(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely, and nothing else.")] = False,
    as_json: Json = False,
) -> None:
    """Look the whole box over: what is wrong, since when, what it means for staff, and what to do.

    Works while the box is down, too. Ends with exit code 0 when all is well, 1 when there is a warning or worse.

    Example: appliance doctor --fix
    """
    from appliance.doctor.run import examine

    found = examine(home_of(context), fix=fix)
    if as_json:
        document(found.to_json())
    else:
        _show(found)
    leave(0 if found.healthy else 1)


def _show(found: Result) -> None:
    from appliance.doctor.finding import worst
    from appliance.units import show_instant

    for sentence in found.mended:
        say(sentence)
    for one in found.looked:
        if one.found is None:
            write(f"?  {one.check.name}: could not be looked at\n")
            continue
        if not one.found:
            write(f"ok {one.check.name}: {one.check.good}\n")
        for finding in one.found:
            level = finding.kind.level
            since = (show_instant(found.since.get(finding.key)) or "")[:16].replace("T", " ")
            write(f"{_MARKS[level]:<2} {one.check.name}, {level} ({finding.id}), since {since} UTC\n")
            write(f"     {finding.what}\n     {finding.kind.means}\n     Next: {finding.do or finding.kind.do}\n")
    levels = [worst(one.found) for one in found.looked if one.found]
    many = f"{len(found.findings)} findings, the worst is a {max(levels, key=list(_MARKS).index)}" if levels else ""
    write(f"\n{many or 'Nothing was found'}.\n")


def report(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="Where to write it; without one, into this folder, with the date in its name.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a file for support: versions, hardware, settings without texts, findings, states, counts, known log lines.

    No prompt, no answer, no secret and nobody's name is in it: it holds what is on a list, and nothing else. It is
    plain JSON in an archive, so that you can look through it before you send it.

    Example: appliance report support.tar.gz
    """
    from appliance.doctor.report import write_report

    made = write_report(home_of(context), file)
    if as_json:
        document({"file": str(made.file), "bytes": made.size, "members": list(made.members)})
    else:
        say(f"The report is in {made.file}. Look through it, then send it to whoever supports you.")
