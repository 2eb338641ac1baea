"""`up`, `down`, `status`, `logs` and `serve`."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.first_owner import NOBODY
from appliance.cli.follow import Follower, show
from appliance.cli.output import document, leave, say, write
from appliance.cli.proving import prove_all
from appliance.units import MIB

if TYPE_CHECKING:
    from appliance.config.paths import Home
    from appliance.config.settings import Settings
    from appliance.supervise.spec import Report

_FOLLOW_S = 0.2
_FACES = ("serve", "identity", "chat-redis", "chat-page")


def up(
    context: typer.Context,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay attached, show the logs, end with Ctrl-C.")
    ] = False,
    prove: Annotated[bool, typer.Option("--prove/--no-prove", help="Measure the engines once they are ready.")] = True,
    as_json: Json = False,
) -> None:
    """Start everything, and say when it is ready; then measure the engines: memory and speed.

    Safe to run again: what is up stays up. The first measurement of a model takes up to a minute.

    Example: appliance up
    """
    from appliance.control import status as status_module
    from appliance.control.up import up as start
    from appliance.errors import ApplianceError

    home = home_of(context)
    _resume(home)
    settings = settings_of(home)
    if foreground and as_json:
        raise ApplianceError("wrong-use", "--json does not go with --foreground.", "Leave one of them out.")
    if foreground:
        _attached(home, settings)
        return
    started = start(home, settings, _teller())
    if started.was_up:
        say("It was up already.")
    elif prove:
        prove_all(home)
    found = status_module.status(home, settings)
    if as_json:
        document(found)
    if started.outdated:
        say("The settings have changed since it was started: `appliance down`, then `appliance up`.")
    else:
        say(f"Ready. The API is at {found['urls']['api']}")
        if "chat" in found["urls"]:
            say(f"The chat page is at {found['urls']['chat']}")
    if found["owned"] is False:
        say(NOBODY)
    if any(engine["trial"] for engine in found["engines"]):
        _suggest(home)


def _resume(home: Home) -> None:
    """End an update or a restore that was interrupted: until then settings and state may be those of two times."""
    from appliance.control import update_recovery

    update_recovery.recover(home, say)
    if home.restoring.exists():
        from appliance.control import restoring
        from appliance.control.up import down as end

        say("Going on with a restore that was interrupted")
        # Services that were to start with the machine have waited for this, and will be started anew.
        end(home)
        restoring.resume(home)


def _suggest(home: Home) -> None:
    """Name the model that this machine could run in place of the trial one."""
    from appliance.cli.model_words import suggestion
    from appliance.control import planning
    from appliance.selector.plan import Wishes

    words = suggestion(planning.plan(home, planning.facts(home, None), Wishes())[0].models)
    if words:
        say(words)


def down(context: typer.Context, as_json: Json = False) -> None:
    """End everything that `up` started, and nothing else.

    Answers under way get a few seconds to finish. No data is lost.

    Example: appliance down
    """
    from appliance.control.up import down as end
    from appliance.control.update_recovery import refuse_while_under_way

    home = home_of(context)
    refuse_while_under_way(home)
    ended = end(home)
    if as_json:
        document({"was_running": ended})
    else:
        say("Everything has ended." if ended else "It was not running.")


def status(context: typer.Context, as_json: Json = False) -> None:
    """Show what runs, what it serves, and what is wrong.

    Ends with exit code 0 when all is well, 1 when something is not.

    Example: appliance status --json
    """
    from appliance.control import status as status_module

    home = home_of(context)
    found = status_module.status(home, settings_of(home))
    if as_json:
        document(found)
    else:
        _show_status(found)
    leave(0 if found["healthy"] else 1)


def logs(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="chat, serve or supervisor; all of them when left out.")] = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, max=100_000, help="How many of the last lines.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new lines until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the last lines of the logs.

    Example: appliance logs chat -n 50 -f
    """
    from appliance.errors import ApplianceError

    folder = home_of(context).logs
    files = sorted(folder.glob("*.log")) if name is None else [folder / f"{name}.log"]
    if not files or not all(file.exists() for file in files):
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        raise ApplianceError("wrong-use", f"There is no log '{name or folder}'.", f"Logs: {known}.")
    if follow and as_json:
        raise ApplianceError("wrong-use", "--json does not go with --follow.", "Leave one of them out.")
    follower = Follower(files)
    if as_json:
        document([line._asdict() for line in follower.last(lines)])
        return
    show(follower.last(lines))
    while follow:
        time.sleep(_FOLLOW_S)
        show(follower.more())


def serve(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Listen here instead of on gateway.port.")] = None,
) -> None:
    """Run the request path alone, in the foreground; `up` does this for you.

    Example: appliance --config my.toml --state /tmp/state serve --port 9000
    """
    from appliance.control.service import service_of

    home = home_of(context)
    service = service_of(home, settings_of(home), port)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "appliance.cli.request_path", service.to_json()])


def identity(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Listen here instead of on identity.port.")] = None,
) -> None:
    """Run sign-on alone, in the foreground; `up` does this for you.

    Example: appliance --config my.toml --state /tmp/state identity --port 9001
    """
    from appliance.control.federation import ages_of, directory_of, upstreams_of
    from appliance.errors import ApplianceError
    from appliance.identity.place import Place

    home = home_of(context)
    whole = settings_of(home)
    settings = whole.identity
    if not settings.enabled:
        raise ApplianceError(
            "sign-on-off", "Sign-on is switched off.", "Set `enabled = true` under [identity] in the settings."
        )
    socket = str(home.socket("identity")) if whole.lan.enabled else ""
    place = Place(
        str(home.config), str(home.state), settings.host, port or settings.port, settings.issuer, socket,
        landing=whole.chat.origin if whole.chat.enabled else "/account",
        upstreams=upstreams_of(settings), directory=directory_of(settings), ages=ages_of(settings),
        chat_host=whole.chat.host, chat_port=whole.chat.port if whole.chat.enabled else 0,
    )  # fmt: skip
    # Hashing a password takes 19 MiB. What is larger than this goes back when it is freed; by itself the C library
    # would stop that after the first time, and each thread that ever hashed would keep as much for good.
    os.putenv("MALLOC_MMAP_THRESHOLD_", str(MIB))
    os.execv(sys.executable, [sys.executable, "-P", "-m", "appliance.cli.sign_on", place.to_json()])


def _teller() -> Any:
    """A listener that says each process's state once it changes."""
    said: dict[str, str] = {}
    words = {
        "starting": "starting",
        "ready": "ready",
        "restarting": "ended, starting again",
        "failed": "does not stay up",
    }

    def tell(report: Report) -> None:
        for process in report.processes:
            # What was ready before we looked is no news.
            news = process.state in words and said.get(process.name) != process.state
            news = news and (process.state != "ready" or process.name in said)
            if news:
                said[process.name] = process.state
                say(f"{process.name}: {words[process.state]}")

    return tell


def _attached(home: Home, settings: Settings) -> None:
    """Start everything, pass on its logs, and end it with this command."""
    from appliance.control.lan import PROCESSES
    from appliance.control.status import api_url
    from appliance.control.up import attach, failure
    from appliance.supervise.where import read_report

    # Asked to end, or its terminal closed: as with Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    tell, ready = _teller(), False
    logs = Follower([home.logs / f"{name}.log" for name in ("supervisor", *settings.engines, *_FACES, *PROCESSES)])
    child = attach(home, settings)
    try:
        while child.poll() is None:
            report = read_report(home.run)
            if report is not None and report.supervisor == child.pid:
                tell(report)
                if report.all_ready and not ready:
                    ready = True
                    say(f"Ready. The API is at {api_url(settings)}. Ctrl-C ends it.")
            show(logs.more())
            time.sleep(_FOLLOW_S)
    except KeyboardInterrupt:
        child.terminate()
    code = child.wait()
    show(logs.more())
    if code:
        raise failure(home)


def _proved(engine: dict[str, Any]) -> str:
    """What was measured, and when, if that was before the engine was started again."""
    from appliance.units import show_bytes

    proof = engine["proof"]
    speed = f"{proof['writes']:g} tokens a second for one" if proof["writes"] else "speed not measured: it was busy"
    words = f"proved: {speed}, {show_bytes(proof['host']['taken'] + proof['gpu']['taken'])} taken"
    return words if engine["proved"] else f"{words}, at {proof['at']}; not since: `appliance models prove`"


def _show_status(found: dict[str, Any]) -> None:
    from appliance.units import show_duration

    write(f"{'Healthy' if found['healthy'] else 'NOT healthy'}   appliance {found['version']}\n")
    for problem in found["problems"]:
        write(f"  ! {problem}\n")
    if found["update"]:
        write(f"  ! the update to version {found['update']['version']} was undone: {found['update']['reason']}\n")
    for alarm in found["alarms"]:
        write(f"  ! {alarm['model']}: {alarm['text']}\n")
    for process in found["processes"]:
        restarts = f", restarted {process['restarts']} times" if process["restarts"] else ""
        write(f"  {process['name']}: {process['state']} for {show_duration(process['seconds'])}{restarts}\n")
        if not process["prioritized"]:
            write("    at normal priority: only root may give the engine precedence over other programs\n")
    for engine in found["engines"]:
        where = f"at {engine['url']}" if engine["url"] else f"{engine['slots']} slots of {engine['context']} tokens"
        place = ", on the graphics card" if engine["on_gpu"] else ""
        write(f"  model for {engine['role']}: {engine['model']}, {where}{place}\n")
        if engine["off_gpu_because"]:
            write(f"    not on the graphics card: {engine['off_gpu_because']}\n")
        if engine["proof"]:
            write(f"    {_proved(engine)}\n")
        if engine["trial"]:
            write("    a trial model: it shows that the box works, and is too small for real work\n")
    _show_addresses(found)


def _show_addresses(found: dict[str, Any]) -> None:
    """Where it is used, and by whom it is owned."""
    chat = found["chat"]
    words = {"api": "API", "issuer": "sign-on", "page": "on the network", "trust": "for devices that warn of it"}
    write("".join(f"  {words[name]}: {url}\n" for name, url in found["urls"].items() if name in words))
    if chat:
        count = "1 person" if chat["people"] == 1 else f"{chat['people']} people"
        write(f"  chat page: {found['urls']['chat']}, used by {count} in 30 days\n")
        if chat["licence"]:
            write(f"    {chat['licence']}\n")
        if not chat["signs_out_at_once"]:
            write("    redis-server is not installed: for 30 minutes after signing out, a browser that somebody has\n")
            write("    taken along can still read their conversations\n")
    if found["owned"] is False:
        write(f"  {NOBODY}\n")
