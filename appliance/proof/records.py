"""Keep and find proofs."""

from __future__ import annotations

from sqlmodel import Session, col, select

from appliance.proof.tables import Proof


def save(session: Session, proof: Proof) -> None:
    """Put a proof on record."""
    session.add(proof)


def newest(session: Session, machine: str, model: str) -> Proof | None:
    """The last proof of a model on a machine."""
    query = select(Proof).where(Proof.machine == machine, Proof.model == model)
    return session.exec(query.order_by(col(Proof.id).desc()).limit(1)).first()


def baseline(session: Session, machine: str, model: str) -> Proof | None:
    """The proof that later ones are held against."""
    query = select(Proof).where(Proof.machine == machine, Proof.model == model, col(Proof.is_baseline))
    return session.exec(query.order_by(col(Proof.id).desc()).limit(1)).first()


def all_newest(session: Session, machine: str) -> dict[str, Proof]:
    """The last proof of every model on a machine, by model id."""
    query = select(Proof).where(Proof.machine == machine).order_by(col(Proof.id))
    return {proof.model: proof for proof in session.exec(query)}


def all_measured(session: Session, machine: str) -> dict[str, Proof]:
    """The last proof of every model whose speed was measured and that was no alarm, by model id."""
    query = select(Proof).where(Proof.machine == machine, Proof.alone_speed > 0, col(Proof.alarm).is_(None))
    return {proof.model: proof for proof in session.exec(query.order_by(col(Proof.id)))}
