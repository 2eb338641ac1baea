"""The addresses below /v1/files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.gateway.files import Files, Stored, new_id, now_s, too_large
from appliance.gateway.pages import page
from appliance.http.asgi import Request, Send, respond, start
from appliance.http.errors import JSON
from appliance.http.forms import Form
from appliance.policy.body import bad_value
from appliance.policy.grants import permit
from appliance.policy.principals import Principal
from appliance.store.files import Staged
from appliance.units import KIB, MIB

if TYPE_CHECKING:
    from appliance.gateway.box import Box

FILES: Final = "/v1/files"
_CONTENT: Final = "/content"
# A form's other parts and the lines between them.
_FORM_BYTES: Final = 16 * KIB
_PIECE: Final = MIB
_PURPOSE: Final = "batch"


async def upload(box: Box, request: Request, send: Send) -> None:
    """Keep a file of requests for a batch: a form with `purpose` ("batch") and `file`, in JSON lines."""
    principal = _who(box, request)
    files = box.files
    declared = request.header(b"content-length")
    size = int(declared) if declared is not None and declared.isdigit() else files.largest
    if size > files.largest + _FORM_BYTES:
        raise too_large(files.largest)
    box.under_way.enter(principal.key_id)
    try:
        with files.room(size):
            stored = await _receive(files, request, principal)
    finally:
        box.under_way.leave(principal.key_id)
    await _say(send, request, stored.shown())


async def _receive(files: Files, request: Request, principal: Principal) -> Stored:
    """Take the form to the disk as it comes. Raises what is wrong with it, and OSError."""
    id = new_id()
    staged = files.stage(id)
    held = bytearray()
    written = 0
    try:
        form = Form(request.header(b"content-type"), frozenset({"purpose"}), held.extend)
        async for piece in request.pieces():
            form.feed(piece)
            if written + len(held) > files.largest:
                raise too_large(files.largest)
            if len(held) >= _PIECE:
                written += await _write(staged, held)
        form.close()
        written += await _write(staged, held)
        if form.fields.get("purpose") != _PURPOSE:
            raise bad_value("purpose", f'must be "{_PURPOSE}"')
        stored = Stored(id, written, now_s(), form.filename or "file", _PURPOSE, principal.name, principal.team)
        await asyncio.to_thread(files.write, staged, stored)
        files.know(stored)
    finally:
        staged.discard()
    return stored


async def _write(staged: Staged, held: bytearray) -> int:
    """Write what is held, off the loop, and hold nothing any more."""
    data = bytes(held)
    held.clear()
    await asyncio.to_thread(staged.file.write, data)
    return len(data)


async def listed(box: Box, request: Request, send: Send) -> None:
    """Your files, oldest first; `limit`, `after`, `order` and `purpose` as OpenAI has them."""
    found = [one.shown() for one in box.files.of(_who(box, request))]
    await _say(send, request, page(request, found, ("purpose",), most=10_000))


async def one(box: Box, request: Request, send: Send) -> None:
    """What is known of one of your files."""
    await _say(send, request, _find(box, request).shown())


async def content(box: Box, request: Request, send: Send) -> None:
    """The bytes of one of your files."""
    stored = _find(box, request, _CONTENT)
    path = box.files.path(stored.id)
    await start(send, request, 200, b"application/octet-stream", [(b"content-length", b"%d" % stored.size)])
    await _pour(path, send)


async def _pour(path: Path, send: Send) -> None:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def delete(box: Box, request: Request, send: Send) -> None:
    """Delete one of your files for good, unless a batch that has not ended reads it."""
    stored = _find(box, request)
    reader = box.batches.reader_of(stored.id)
    if reader is not None:
        raise ApplianceError(
            "file-in-use",
            f"The batch {reader} reads the file.",
            "Wait until it has ended, or cancel it.",
            param="file_id",
        )
    await box.files.forget(stored)
    await _say(send, request, {"id": stored.id, "object": "file", "deleted": True})


def _who(box: Box, request: Request) -> Principal:
    principal = box.credentials.resolve(request.credential(), request.peer)
    permit(principal, "files", ())
    return principal


def _find(box: Box, request: Request, end: str = "") -> Stored:
    """The file that the address names."""
    principal = _who(box, request)
    return box.files.find(request.scope["path"].removeprefix(f"{FILES}/").removesuffix(end), principal)


async def _say(send: Send, request: Request, what: Any) -> None:
    await respond(send, request, 200, orjson.dumps(what), JSON)
