"""The addresses below /v1/batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.gateway.batches import new_id
from appliance.gateway.endpoints import ENDPOINTS
from appliance.gateway.files import new_id as new_file_id
from appliance.gateway.files import no_room
from appliance.gateway.pages import page
from appliance.http.asgi import Request, Send, respond
from appliance.http.errors import JSON
from appliance.policy.batches import FORM, WINDOW_S, Batch
from appliance.policy.body import bad_value
from appliance.policy.grants import permit
from appliance.policy.principals import Principal
from appliance.units import KIB, now_us

if TYPE_CHECKING:
    from appliance.gateway.box import Box

BATCHES: Final = "/v1/batches"
_CANCEL: Final = "/cancel"
_LARGEST: Final = 64 * KIB
# Headers of ours say how a request is to be dealt with; those of the batch hold for each of its lines.
_OURS: Final = b"x-appliance-"
SCOPES: Final = {one.path: one.scope for one in ENDPOINTS}


async def create(box: Box, request: Request, send: Send) -> None:
    """Have the requests of a file answered within a day, when nobody else needs the models."""
    principal = _who(box, request)
    wanted = FORM.read(await request.body(_LARGEST))
    permit(principal, SCOPES[wanted["endpoint"]], ())
    if box.files.find(wanted["input_file_id"], principal).purpose != "batch":
        raise bad_value("input_file_id", "must be a file that was uploaded with the purpose 'batch'")
    batch = _made(wanted, principal, request)
    try:
        await box.batches.add(batch)
    except OSError as error:
        raise no_room() from error
    await _say(send, request, batch.shown())


def _made(wanted: dict[str, Any], principal: Principal, request: Request) -> Batch:
    now = now_us()
    headers = [(name, value) for name, value in request.scope["headers"] if name.startswith(_OURS)]
    return Batch(
        id=new_id(),
        owner=principal.name,
        team=principal.team,
        key_id=principal.key_id,
        address=request.peer,
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers),
        endpoint=wanted["endpoint"],
        input_file_id=wanted["input_file_id"],
        output=new_file_id(),
        error=new_file_id(),
        created_us=now,
        expires_at=now // 1_000_000 + WINDOW_S,
        metadata=wanted.get("metadata"),
    )


async def listed(box: Box, request: Request, send: Send) -> None:
    """Your batches, newest first; `limit` and `after` as OpenAI has them."""
    found = [one.shown() for one in box.batches.of(_who(box, request))]
    await _say(send, request, page(request, found, most=100, usual=20))


async def one(box: Box, request: Request, send: Send) -> None:
    """One of your batches: its state, how far it is, and the files of its results."""
    await _say(send, request, _find(box, request).shown())


async def cancel(box: Box, request: Request, send: Send) -> None:
    """End one of your batches: what was answered until now is in its files of results."""
    batch = _find(box, request, _CANCEL)
    if batch.ended:
        raise ApplianceError(
            "batch-ended", f"The batch {batch.id} is {batch.status.value} already.", "There is nothing to cancel."
        )
    try:
        box.batches.mark(batch.id)
    except OSError as error:
        raise no_room() from error
    await _say(send, request, box.batches[batch.id].shown())


def _who(box: Box, request: Request) -> Principal:
    principal = box.credentials.resolve(request.credential(), request.peer)
    permit(principal, "batches", ())
    return principal


def _find(box: Box, request: Request, end: str = "") -> Batch:
    """The batch that the address names."""
    principal = _who(box, request)
    return box.batches.find(request.scope["path"].removeprefix(f"{BATCHES}/").removesuffix(end), principal)


async def _say(send: Send, request: Request, what: Any) -> None:
    await respond(send, request, 200, orjson.dumps(what), JSON)
