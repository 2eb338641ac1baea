"""Where models can be: the memory of the processor and of the GPUs, and what each model takes there. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from appliance.catalog.shape import Shape
from appliance.hardware.facts import Gpu, Hardware
from appliance.selector.memory import Load, Need, Part, kv_bytes, need, reserved_bytes, state_bytes
from appliance.units import GIB, MIB

# Left to the operating system, the chat page and everything else on the machine.
_HOST_RESERVE: Final = int(1.5 * GIB)
_HOST_RESERVE_SHARE: Final = 0.08
# Left on a GPU, against what its driver and other programs take later; more where a screen is drawn.
_GPU_RESERVE: Final = 256 * MIB
_GPU_RESERVE_SHARE: Final = 0.02
_DISPLAY_RESERVE: Final = 512 * MIB
# What CUDA itself takes for each process: on the GPU, and on the host. Assumed, not measured here.
_CONTEXT: Final = 450 * MIB
_CONTEXT_HOST: Final = 300 * MIB
_F32: Final = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Memory that models can take, in bytes. `gpus` has one entry for each usable GPU; none is the processor."""

    host: int
    gpus: tuple[int, ...] = ()

    def less(self, taken: Need) -> Place:
        """What is left when a model is there."""
        per_gpu = taken.device_bytes or [0] * len(self.gpus)
        left = tuple(free - used for free, used in zip(self.gpus, per_gpu, strict=True))
        return Place(self.host - host_taken(taken), left)

    def has_room_for(self, wanted: Need) -> bool:
        """Whether a model fits, in every one of the memories."""
        left = self.less(wanted)
        return left.host >= 0 and all(free >= 0 for free in left.gpus)


def host_taken(taken: Need) -> int:
    """The host's memory that a model needs to run well: what it cannot give back, and its file.

    A processor reads the file's pages with every token; for a GPU they were only read once.
    """
    return taken.host_bytes + (0 if taken.devices else _resident(taken))


def _resident(taken: Need) -> int:
    """The mapped pages that are read again and again: those that are not held reordered as well."""
    repacked = next((part.size for part in taken.host if part.cause == "repack"), 0)
    return max(0, taken.mapped_bytes - repacked)


def usable_gpus(hardware: Hardware) -> tuple[Gpu, ...]:
    """The GPUs that models can be on: those with memory of their own, one vendor's, the largest first."""
    found = sorted((gpu for gpu in hardware.gpus if gpu.kind == "discrete" and gpu.memory_free), key=_by_memory)
    return tuple(gpu for gpu in found if gpu.vendor == found[0].vendor)


def _by_memory(gpu: Gpu) -> tuple[int, int]:
    return -gpu.memory_total, gpu.index


@dataclass(frozen=True, slots=True)
class Budget:
    """One memory, in bytes: all of it, what other programs have, and what is kept for the screen and for the rest."""

    name: str
    total: int
    others: int
    display: int
    reserve: int

    @property
    def free(self) -> int:
        """What models may take."""
        return max(0, self.total - self.others - self.display - self.reserve)


def budgets(hardware: Hardware) -> tuple[Budget, ...]:
    """The memories of a machine: the host's, then each usable GPU's."""
    others = hardware.memory - (hardware.memory_available or hardware.memory)
    reserve = max(_HOST_RESERVE, int(hardware.memory * _HOST_RESERVE_SHARE))
    # It is kept for just those programs that have some of it already.
    host = Budget("memory", hardware.memory, others, 0, max(0, reserve - others))
    return (host, *(_gpu_budget(gpu) for gpu in usable_gpus(hardware)))


def _gpu_budget(gpu: Gpu) -> Budget:
    reserve = max(_GPU_RESERVE, int(gpu.memory_total * _GPU_RESERVE_SHARE))
    display = _DISPLAY_RESERVE if gpu.display else 0
    return Budget(f"GPU {gpu.index}", gpu.memory_total, gpu.memory_total - gpu.memory_free, display, reserve)


def free_place(hardware: Hardware) -> Place:
    """What may be taken of this machine's memory."""
    host, *gpus = (budget.free for budget in budgets(hardware))
    return Place(host, tuple(gpus))


def on_processor(shape: Shape, load: Load, hardware: Hardware) -> Need:
    """What a model takes that runs on the processor."""
    return need(shape, load, hardware.cpu_flags)


def on_gpus(shape: Shape, load: Load, place: Place) -> Need:
    """What a model takes that is on the GPUs as a whole, its layers shared out by their free memory.

    Embeddings are looked up on the host. Each GPU has a context and a compute buffer of its own, and a layer is
    not divided: so each is reckoned with a layer more than its share.
    """
    table = sum(tensor.size for tensor in shape.tensors if tensor.name == "token_embd.weight")
    tied = not any(tensor.name == "output.weight" for tensor in shape.tensors)
    weights = sum(tensor.size for tensor in shape.tensors) - (0 if tied else table)
    shared = {"weights": weights, "kv": kv_bytes(shape, load), "state": state_bytes(shape, load.slots)}
    total, count = sum(place.gpus), len(place.gpus)
    layer = 1 / max(1, len(shape.layers)) if count > 1 else 0.0
    devices = tuple(
        (
            *(Part(cause, int(size * min(1.0, free / max(1, total) + layer))) for cause, size in shared.items()),
            Part("compute", reserved_bytes(shape, load)),
            Part("context", _CONTEXT),
        )
        for free in place.gpus
    )
    host = need(shape, replace(load, repack=False), frozenset()).host
    kept = tuple(part for part in host if part.cause in ("server", "checkpoints"))
    inputs = load.context * load.slots * _F32 + shape.embedding * 512 * _F32
    return Need((*kept, Part("compute", inputs), Part("context", _CONTEXT_HOST)), (Part("weights", table),), devices)
