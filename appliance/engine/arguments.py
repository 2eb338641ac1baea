"""The command line of llama-server, from a plan: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How one model is to be run. `context` is tokens per slot, `threads` computing threads."""

    role: str
    model: str
    file: str
    socket: str
    context: int
    slots: int
    threads: int
    prioritized: bool = False


def server_arguments(binary: str, plan: EnginePlan) -> tuple[str, ...]:
    """llama-server's argv: a UNIX socket, nothing that reaches out, nothing that shows prompts of others."""
    return (
        binary,
        "--model", plan.file,
        "--alias", plan.model,
        "--host", plan.socket,
        "--parallel", str(plan.slots),
        # -c is shared by all slots.
        "--ctx-size", str(plan.context * plan.slots),
        "--threads", str(plan.threads),
        "--threads-batch", str(plan.threads),
        "--jinja",
        # /slots would show one person's prompt to another; the web UI and tools are not for here.
        "--no-slots",
        "--no-webui",
        # Refuse what does not fit instead of silently forgetting its beginning.
        "--no-context-shift",
        # The default prompt cache of 8 GiB is in no memory plan.
        "--cache-ram", "0",
        "--offline",
        "--log-colors", "off",
        "--no-log-prefix",
        "--metrics",
    )  # fmt: skip
