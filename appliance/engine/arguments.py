"""The command line of llama-server, from a plan: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# What an engine is asked for besides conversations. Pooling is the model's own business: it is in its file.
_ROLES: Final[dict[str, tuple[str, ...]]] = {"embed": ("--embedding",), "rerank": ("--reranking",)}
# The roles that read texts, often in bulk, and write none.
READERS: Final = frozenset(_ROLES)
# Copies of a conversation's windows and states that each slot keeps, to go back to.
CHECKPOINTS: Final = 1


@dataclass(frozen=True, slots=True)
class Options:
    """What may be tuned for a machine without a change in what is promised.

    `reading_threads` are those for prompts (0: as many as for writing), `micro_batch` is the tokens computed at
    once, `batch` those that are handed over at once, in micro-batches and never fewer than one of them, `flash`
    is `auto`, `on` or `off`, `guess` a way of guessing several tokens ahead (llama-server's --spec-type; empty:
    none).
    """

    reading_threads: int = 0
    micro_batch: int = 512
    flash: str = "auto"
    guess: str = ""
    batch: int = 2048


DEFAULTS: Final = Options()


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How one model is to be run. `context` is tokens per slot, `threads` computing threads.

    `kv` is the type of the caches, `f16` or `q8_0`; without `repack` weights are not held a second time,
    which takes less memory and computes more slowly.
    A model is on the GPUs as a whole (`on_gpu`) or not at all.
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
    options: Options = DEFAULTS
    on_gpu: bool = False


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
        "--threads-batch", str(plan.options.reading_threads or plan.threads),
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
        *memory_arguments(plan),
        *(("--spec-type", plan.options.guess) if plan.options.guess else ()),
        *_ROLES.get(plan.role, ()),
    )  # fmt: skip


def memory_arguments(plan: EnginePlan) -> tuple[str, ...]:
    """The part of the command line that decides memory; llama-fit-params takes it too."""
    return (
        # A batch that is smaller than the micro-batch would cut that down.
        "--batch-size", str(max(plan.options.batch, plan.options.micro_batch)),
        "--ubatch-size", str(plan.options.micro_batch),
        # What fits was planned: the engine must not change it on its own.
        "--fit", "off",
        # The engine quantizes values only together with flash attention.
        "--flash-attn", "on" if plan.kv != "f16" else plan.options.flash,
        *(("--cache-type-k", plan.kv, "--cache-type-v", plan.kv) if plan.kv != "f16" else ()),
        *(() if plan.repack else ("--no-repack",)),
        *_placed(plan.on_gpu),
    )  # fmt: skip


def _placed(on_gpu: bool) -> tuple[str, ...]:
    """All layers on the GPUs or none: a model with a part on each side is slower than on the processor.

    Among several GPUs the engine shares layers out by their free memory, as the planner reckons.
    """
    return ("--gpu-layers", "all", "--split-mode", "layer") if on_gpu else ("--device", "none")
