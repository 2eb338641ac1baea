"""Where each engine goes, and whether all of them fit together: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.catalog.shape import Shape
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.selector.choose import Choice
from appliance.selector.memory import Need
from appliance.selector.places import Place, free_place, host_taken, on_gpus, on_processor
from appliance.units import show_bytes


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one engine goes and what it takes there. `off_gpu`: why not on the graphics cards, if there are any."""

    need: Need
    on_gpu: bool
    off_gpu: str = ""


class Room:
    """A machine that is filled with one engine after the other. `offloads`: the engine has code for its GPUs."""

    def __init__(self, hardware: Hardware, *, offloads: bool, taken: int = 0) -> None:
        """`taken`: bytes of the host's memory that other engines of ours have."""
        self._hardware = hardware
        self._offloads = offloads
        # The host's memory as if all else were free: what `up` starts may be running already, or be about to end.
        host = free_place(replace(hardware, memory_available=hardware.memory)).host
        self._left = Place(host - taken, free_place(hardware).gpus if offloads else ())

    @property
    def left(self) -> Place:
        """What is still free."""
        return self._left

    def seat(self, shape: Shape, choice: Choice) -> Seat:
        """The place of the next engine: the GPUs if it fits there as a whole, else the processor.

        Raises model-too-large.
        """
        found = self._seat(shape, choice)
        taken = host_taken(found.need)
        if taken > self._left.host:
            raise ApplianceError(
                "model-too-large",
                f"{choice.model.title} with {choice.slots} x {choice.context} tokens needs {show_bytes(taken)} of "
                f"memory, and this machine can give {show_bytes(max(0, self._left.host))}.",
                "Lower `context` or `slots` in the settings, or choose a model that fits: `appliance models plan`.",
            )
        self._left = self._left.less(found.need)
        return found

    def better(self, shape: Shape, tuned: Choice, choice: Choice) -> Choice:
        """The tuned choice, unless there is no room for it where there is for the other. Takes no room."""
        seat, other = self._seat(shape, tuned), self._seat(shape, choice)
        fits = host_taken(seat.need) <= self._left.host and seat.on_gpu >= other.on_gpu
        return tuned if fits else choice

    def _seat(self, shape: Shape, choice: Choice) -> Seat:
        if not self._left.gpus:
            return Seat(on_processor(shape, choice.load, self._hardware), on_gpu=False, off_gpu=self._why_none())
        taken = on_gpus(shape, choice.load, self._left)
        if self._left.has_room_for(taken):
            return Seat(taken, on_gpu=True)
        wanted, free = sum(taken.device_bytes), max(0, sum(self._left.gpus))
        why = f"It needs {show_bytes(wanted)} of graphics memory, and {show_bytes(free)} can be had."
        return Seat(on_processor(shape, choice.load, self._hardware), on_gpu=False, off_gpu=why)

    def _why_none(self) -> str:
        if self._offloads or not free_place(self._hardware).gpus:
            return ""
        return "The engine was built for the processor alone: run the installer again to build it for the card."
