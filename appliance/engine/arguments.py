"""The command line of llama-server, from a plan: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Copies of a conversation's windows and states that each slot keeps, to go back to.
CHECKPOINTS: Final = 1


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How one model is to be run. `context` is tokens per slot, `threads` computing threads.

    `kv` is the type of the caches, `f16` or `q8_0`; without `repack` weights are not held a second time,
    which takes less memory and computes more slowly.
    """

    role: str
    model: str
    file: str
    socket: str
    context: int
    slots: int
    threads: int
    kv: str = "f16"
    repack: bool = True


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
        # Nor are its copies of what cannot be wound back: the last one is what the next turn needs.
        "--ctx-checkpoints", str(CHECKPOINTS),
        "--offline",
        "--log-colors", "off",
        "--no-log-prefix",
        "--metrics",
        # The engine quantizes values only together with flash attention.
        *(("--cache-type-k", plan.kv, "--cache-type-v", plan.kv, "--flash-attn", "on") if plan.kv != "f16" else ()),
        *(() if plan.repack else ("--no-repack",)),
    )  # fmt: skip
