"""NVIDIA's graphics cards as they are at this moment: memory, load, temperature, power."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_LIBRARY: Final = "libnvidia-ml.so.1"
# A driver that did not work is tried again after this many seconds.
_RETRY_S: Final = 60.0


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
        self._nvml: Any = None
        self._state: Cards | None = None
        self._again_at = 0.0

    def read(self) -> Cards | None:
        """The cards now; None on a machine without NVIDIA's library. Never raises."""
        if self._nvml is None and not self._set_up():
            return self._state
        nvml = self._nvml
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError:
            self._give_up()
            return self._state
        return Cards(up=True, cards=tuple(_card(nvml, index) for index in range(count)))

    def _set_up(self) -> bool:
        now = time.monotonic()
        if now < self._again_at:
            return False
        self._again_at = now + _RETRY_S
        try:
            ctypes.CDLL(_LIBRARY)
        except OSError:
            self._state = None
            return False
        # Imported here because it takes a tenth of a second, which machines without the library need not pay.
        import pynvml as nvml  # type: ignore[import-untyped]

        try:
            nvml.nvmlInit()
        except nvml.NVMLError:
            self._state = Cards(up=False)
            return False
        self._nvml = nvml
        return True

    def _give_up(self) -> None:
        """The driver worked and does no longer: it was replaced, or the machine has lost it."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()
        self._nvml, self._state = None, Cards(up=False)
        self._again_at = time.monotonic() + _RETRY_S


def _card(nvml: Any, index: int) -> Card:
    """One card; what it does not tell is None."""

    def ask(query: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return query(*arguments)
        except (nvml.NVMLError, UnicodeDecodeError):
            return None

    handle = ask(nvml.nvmlDeviceGetHandleByIndex, index)
    name = None if handle is None else ask(nvml.nvmlDeviceGetName, handle)
    if name is None:
        return Card(index, up=False)
    # A card without memory of its own (GB10, Jetson) does not tell this.
    memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    load = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
    return Card(
        index=index,
        up=True,
        name=name,
        memory_total=memory.total if memory else None,
        memory_used=memory.used if memory else None,
        utilization=load.gpu / 100 if load else None,
        temperature_c=ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        power_mw=ask(nvml.nvmlDeviceGetPowerUsage, handle),
        energy_mj=ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle),
    )
