"""What a machine has, as frozen values, and their form as JSON. Bytes, and bytes per second, are integers."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from appliance.errors import ApplianceError

Vendor = Literal["nvidia", "amd", "intel"]

Kind = Literal["discrete", "integrated", "unified"]


@dataclass(frozen=True, slots=True)
class GpuUser:
    """A process that holds memory of the GPU; `bytes` is left open where the driver does not say how much."""

    pid: int
    name: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. What its driver does not tell is left open.

    `index` is the driver's own number: NVML's for NVIDIA, that of `/dev/dri/cardN` for others. `kind`:
    `discrete` has memory of its own, `integrated` is part of the processor and borrows the host's, `unified`
    shares one memory with the processor by design (NVIDIA GB10, Jetson). `memory_total` is 0 where nobody
    says how much there is. `users`: the programs on it, where the driver lists them (NVIDIA). `cuda` is the
    newest version that the driver can run. `bandwidth` is reckoned from bus width and memory clock.
    `display`: a screen is attached or drawn on.
    """

    index: int
    vendor: Vendor
    name: str
    uuid: str
    kind: Kind
    memory_total: int
    memory_free: int
    users: tuple[GpuUser, ...]
    driver: str | None
    cuda: str | None
    compute_capability: str | None
    bus_bits: int | None
    memory_clock_mhz: int | None
    bandwidth: int | None
    power_limit_w: int | None
    display: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be used or is not known: what, a stable code, and the reason with what to do."""

    subject: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """What this process may use of the machine.

    `cpu_flags` are the instruction sets that the engine has code for; `cores` are physical ones. `memory`
    and `memory_available` are never above what a container allows. `memory_bandwidth` is measured, all cores
    at once, and counts each byte read once; it is left open unless asked for. `disk_total` and `disk_free`
    are those of the disk with the state folder.
    """

    cpu_model: str
    cpu_flags: frozenset[str]
    cores: int
    memory: int
    memory_available: int = 0
    memory_bandwidth: int | None = None
    numa_nodes: int = 1
    disk_total: int | None = None
    disk_free: int | None = None
    gpus: tuple[Gpu, ...] = ()
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """These facts as a JSON object; `from_json` takes it back."""
        found: dict[str, Any] = _encode(self)
        return found

    @classmethod
    def from_json(cls, value: object, source: str = "The document") -> Hardware:
        """The facts of a JSON object. Raises hardware-file-bad, naming `source` and the field at fault."""
        try:
            found: Hardware = _decode(cls, value, "")
        except ValueError as error:
            raise ApplianceError(
                "hardware-file-bad",
                f"{source} does not hold hardware facts: {error}.",
                "Save them anew on the machine in question: appliance hardware --json > FILE",
            ) from error
        return found


def ddr_bandwidth(bus_bits: int | None, clock_mhz: int | None) -> int | None:
    """Bytes per second of graphics memory: bus bits / 8 * 2 * clock, because DDR moves data on both clock edges.

    NVML gives the clock of GDDR5X and later as half the data rate, so the formula holds for it too:
    an RTX 4090's 384 bits at 10,501 MHz are 1,008 GB/s.
    """
    return bus_bits * clock_mhz * 1_000_000 * 2 // 8 if bus_bits and clock_mhz else None


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, frozenset):
        return sorted(value)
    return [_encode(one) for one in value] if isinstance(value, tuple) else value


def _decode(kind: Any, value: Any, where: str) -> Any:
    """A value of a type, from JSON. Raises ValueError with what is wrong, and where."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else _decode(inner[0], value, where)
    if is_dataclass(kind) and isinstance(value, dict):
        return _decode_fields(kind, value, where)
    if origin in (tuple, frozenset) and isinstance(value, list):
        return origin(_decode(inner[0], one, f"{where}[{place}]") for place, one in enumerate(value))
    # A bool is an int to Python, but not to JSON; none of our numbers is ever negative.
    fits = value in inner if origin is Literal else type(value) is kind and not (kind is int and value < 0)
    if not fits:
        raise ValueError(f"{where or 'it'} is not {_words(kind)}")
    return value


def _decode_fields(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    at = f"{where}." if where else ""
    if wrong := sorted(hints.keys() ^ value.keys()):
        raise ValueError(f"{at}{wrong[0]} is {'missing' if wrong[0] in hints else 'unknown'}")
    return kind(**{name: _decode(hint, value[name], at + name) for name, hint in hints.items()})


def _words(kind: Any) -> str:
    """A type as a person calls it."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) in (tuple, frozenset):
        return "a list"
    return {int: "a whole number", str: "text", bool: "true or false"}.get(kind, "an object")


# The instruction sets that llama.cpp's CPU code is compiled for when they are there.
_OLD = frozenset({"sse4_2", "avx", "avx2", "avx_vnni", "bmi2", "fma", "f16c"})
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
_AVX512_EXTRA = frozenset({"avx512vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bf16"})
_AMX = frozenset({"amx_tile", "amx_int8", "amx_bf16"})
ENGINE_FLAGS = _OLD | _AVX512 | _AVX512_EXTRA | _AMX
