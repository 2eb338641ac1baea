"""NVIDIA's graphics cards as they are at this moment: memory, load, temperature, power.

The driver's library (NVML) is asked without NVIDIA's Python module: that takes 16 MiB, in a gateway that takes little
more itself, and what is asked here is a few functions that every driver in use has.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from typing import Any, Final

_LIBRARY: Final = "libnvidia-ml.so.1"
# A driver that did not work is tried again after this many seconds.
_RETRY_S: Final = 60.0
_SUCCESS: Final = 0
_TEMPERATURE_OF_CHIP: Final = 0
# Bytes that every name fits into, by nvml.h.
_NAME: Final = 96


@dataclass(frozen=True, slots=True)
class Card:
    """One card now; None where it does not tell. Memory in bytes, `utilization` from 0 to 1, `energy_mj` since ever.

    One that is not `up` does not answer, and tells nothing.
    """

    index: int
    up: bool
    name: str | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    utilization: float | None = None
    temperature_c: int | None = None
    power_mw: int | None = None
    energy_mj: int | None = None


@dataclass(frozen=True, slots=True)
class Cards:
    """All cards now; none when the driver is not `up`."""

    up: bool
    cards: tuple[Card, ...] = ()


class CardReader:
    """Asks the driver, which is set up once and kept. Use it from one thread; a driver may take seconds to answer."""

    def __init__(self) -> None:
        self._nvml: _Nvml | None = None
        self._state: Cards | None = None
        self._again_at = 0.0

    def read(self) -> Cards | None:
        """The cards now; None on a machine without NVIDIA's library. Never raises."""
        nvml = self._nvml or self._set_up()
        if nvml is None:
            return self._state
        count = nvml.number(ctypes.c_uint, "nvmlDeviceGetCount_v2")
        if count is None:
            # The driver worked and does no longer: it was replaced, or the machine has lost it.
            nvml.asks("nvmlShutdown")
            self._nvml, self._state = None, Cards(up=False)
            self._again_at = time.monotonic() + _RETRY_S
            return self._state
        return Cards(up=True, cards=tuple(_card(nvml, index) for index in range(count)))

    def _set_up(self) -> _Nvml | None:
        now = time.monotonic()
        if now < self._again_at:
            return None
        self._again_at = now + _RETRY_S
        try:
            nvml = _Nvml()
        except OSError:
            self._state = None
            return None
        if not nvml.asks("nvmlInitWithFlags", 0):
            self._state = Cards(up=False)
            return None
        self._nvml = nvml
        return nvml


class _Nvml:
    """The driver's library. A function that it lacks, since it is old, is one that fails."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_LIBRARY)

    def asks(self, name: str, *arguments: Any) -> bool:
        """Call a function; whether it succeeded."""
        function = getattr(self._library, name, None)
        return function is not None and function(*arguments) == _SUCCESS

    def number(self, kind: type[ctypes.c_uint | ctypes.c_ulonglong], name: str, *arguments: Any) -> int | None:
        """The number that a function puts where its last argument points; None when it fails."""
        value = kind()
        return int(value.value) if self.asks(name, *arguments, ctypes.byref(value)) else None


class _Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Load(ctypes.Structure):
    """nvmlUtilization_t, in percent of the time."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def _card(nvml: _Nvml, index: int) -> Card:
    """One card; what it does not tell is None."""
    card, name = ctypes.c_void_p(), ctypes.create_string_buffer(_NAME)
    found = nvml.asks("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(card))
    if not found or not nvml.asks("nvmlDeviceGetName", card, name, _NAME):
        return Card(index, up=False)
    memory, load = _Memory(), _Load()
    # A card without memory of its own (GB10, Jetson) does not tell this.
    has_memory = nvml.asks("nvmlDeviceGetMemoryInfo", card, ctypes.byref(memory))
    has_load = nvml.asks("nvmlDeviceGetUtilizationRates", card, ctypes.byref(load))
    return Card(
        index=index,
        up=True,
        name=name.value.decode("utf-8", "replace"),
        memory_total=memory.total if has_memory else None,
        memory_used=memory.used if has_memory else None,
        utilization=load.gpu / 100 if has_load else None,
        temperature_c=nvml.number(ctypes.c_uint, "nvmlDeviceGetTemperature", card, _TEMPERATURE_OF_CHIP),
        power_mw=nvml.number(ctypes.c_uint, "nvmlDeviceGetPowerUsage", card),
        energy_mj=nvml.number(ctypes.c_ulonglong, "nvmlDeviceGetTotalEnergyConsumption", card),
    )
