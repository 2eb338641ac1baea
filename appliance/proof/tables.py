"""The tables of what was measured: proofs of what runs, and tunings."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import BigInteger, Field, SQLModel


class Proof(SQLModel, table=True):
    """One measurement of one engine after it was loaded.

    `machine` and `model` say what was measured, `plan` how it was run (see `proof.keys`). Sizes in bytes, speeds
    in tokens a second: `prompt_speed` read and `alone_speed` written for one user, `together_speed` written for
    all slots; 0 where the engine was too busy to tell. `filled` tokens were in each slot when the memory was read.
    `dry_context` and `dry_compute` are llama.cpp's own estimate of what `planned_context` and `planned_compute`
    say. `offloaded`: whether all of it was on the GPUs; null where it was not meant to be. Later ones are held
    against the newest `is_baseline`. `alarm` is a code of `proof.judge`, `cause` a sentence.
    """

    __tablename__ = "proof"
    __table_args__ = (Index("ix_proof_model", "machine", "model", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    at: int = Field(sa_type=BigInteger)
    machine: str
    model: str
    role: str
    plan: str
    pid: int
    is_baseline: bool = False
    context: int
    slots: int
    kv: str = "f16"
    filled: int = 0
    planned_host: int = Field(sa_type=BigInteger)
    taken_host: int = Field(sa_type=BigInteger)
    planned_gpu: int = Field(default=0, sa_type=BigInteger)
    taken_gpu: int = Field(default=0, sa_type=BigInteger)
    planned_context: int = Field(sa_type=BigInteger)
    dry_context: int = Field(sa_type=BigInteger)
    planned_compute: int = Field(sa_type=BigInteger)
    dry_compute: int = Field(sa_type=BigInteger)
    prompt_speed: float = 0.0
    alone_speed: float = 0.0
    together_speed: float = 0.0
    offloaded: bool | None = None
    alarm: str | None = None
    cause: str | None = None


class Tuning(SQLModel, table=True):
    """What tuning a model on a machine has found. The newest of a machine and model is in force.

    `options` is a JSON object of what differs from the defaults of `engine.arguments.Options`, `table` a JSON list of
    what was tried and measured.
    """

    __tablename__ = "tuning"
    __table_args__ = (Index("ix_tuning_model", "machine", "model", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    at: int = Field(sa_type=BigInteger)
    machine: str
    model: str
    options: str
    table: str
