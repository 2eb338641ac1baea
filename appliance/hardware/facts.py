"""What a machine has, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hardware:
    """The processor and memory that this process may use. Memory in bytes."""

    cpu_model: str
    cpu_flags: frozenset[str]
    cores: int
    memory: int


# The instruction sets that llama.cpp's CPU code is compiled for when they are there.
_OLD = frozenset({"sse4_2", "avx", "avx2", "avx_vnni", "bmi2", "fma", "f16c"})
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
_AVX512_EXTRA = frozenset({"avx512vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bf16"})
_AMX = frozenset({"amx_tile", "amx_int8", "amx_bf16"})
ENGINE_FLAGS = _OLD | _AVX512 | _AVX512_EXTRA | _AMX
