"""How one chosen model is to run on this machine, beside the engines that stay: pure."""

from __future__ import annotations

from dataclasses import replace

from appliance.catalog.shape import Shape
from appliance.control.room import Room
from appliance.control.running import Planned
from appliance.errors import ApplianceError
from appliance.hardware.facts import Gpu, Hardware
from appliance.selector.choose import Choice
from appliance.selector.places import free_place
from appliance.selector.plan import loads


def without(hardware: Hardware, old: Planned, pids: set[int]) -> Hardware:
    """The machine as it is once the old engine, these processes, has ended: what it holds of the GPUs is free again.

    Where a driver does not say who holds what, it is what was planned.
    """
    share = old.gpu // len(hardware.gpus) if old.plan.on_gpu and hardware.gpus else 0

    def freed(gpu: Gpu) -> Gpu:
        told = [user.bytes for user in gpu.users if user.pid in pids and user.bytes is not None]
        held = sum(told) if told else share
        left = tuple(user for user in gpu.users if user.pid not in pids)
        return replace(gpu, memory_free=min(gpu.memory_total, gpu.memory_free + held), users=left)

    return replace(hardware, gpus=tuple(freed(gpu) for gpu in hardware.gpus))


def fitted(shape: Shape, wish: Choice, hardware: Hardware, others: tuple[Planned, ...], *, offloads: bool) -> Choice:
    """The wish, with 8-bit caches and then less context where it would not fit else; on the GPUs if it can.

    `hardware` is the machine without the model that is to be replaced. Raises model-too-large.
    """
    failed: ApplianceError | None = None
    taken = sum(one.room for one in others)
    # Before a model is kept off the GPUs, its context shrinks.
    for on_gpu in (True, False) if offloads and free_place(hardware).gpus else (False,):
        for load in loads(wish.context, wish.slots, wish.model.context):
            choice = replace(wish, context=load.context, kv=load.kv if wish.kv == "f16" else wish.kv)
            try:
                seat = Room(hardware, offloads=offloads, taken=taken).seat(shape, choice)
            except ApplianceError as error:
                failed = error
                continue
            if seat.on_gpu or not on_gpu:
                return choice
    assert failed is not None
    raise failed


def fits_beside(new: Planned, hardware: Hardware) -> bool:
    """Whether a model can be loaded while the one that it replaces still runs: with what is free now."""
    place = free_place(hardware)
    gpu = sum(place.gpus) if new.plan.on_gpu else 0
    return place.host >= new.room and gpu >= new.gpu
