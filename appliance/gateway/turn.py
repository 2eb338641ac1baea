"""Wait for a slot of an engine. Who waits is told their place: in the stream's comments, where there is a stream."""

from __future__ import annotations

from typing import Final

from appliance.gateway.hold import unless_gone
from appliance.gateway.queue import Place, Queue
from appliance.gateway.visit import Visit
from appliance.http.asgi import Send

# A stream that waits longer is begun, so that nobody takes its silence for a failure.
_SILENT_S: Final = 2.0
# And so often at least it says a word: proxies close what is quiet for a minute.
_WORD_EVERY_S: Final = 15.0


async def turn(visit: Visit, queue: Queue, send: Send) -> Place:
    """A place that holds a slot; the caller leaves it.

    Raises queue-full, queue-timeout, engine-unavailable when the gateway ends, and DisconnectedError.
    """
    place = queue.ask(visit.principal.name, visit.priority, visit.tokens, visit.box.queue_s)
    if place.admitted:
        return place
    box = visit.box
    try:
        await unless_gone(box.watchman, visit.request, _admitted(visit, place, send), visit.route.target)
    except BaseException:
        place.leave()
        raise
    visit.waited_s += place.waited_s
    visit.request.told.append((b"x-appliance-waited-ms", b"%d" % round(visit.waited_s * 1000)))
    return place


async def _admitted(visit: Visit, place: Place, send: Send) -> None:
    if await place.news(_SILENT_S):
        return
    if not visit.wanted.streamed:
        await place.slot()
        return
    while not await place.news(0):
        if not visit.begun:
            visit.request.told += [
                (b"x-appliance-queue-position", b"%d" % place.position),
                (b"x-appliance-queue-wait-s", b"%d" % round(place.expected_s)),
            ]
            await visit.begin(send)
        words = f": waiting, position {place.position}, about {place.expected_s:.0f} s\n\n"
        await send({"type": "http.response.body", "body": words.encode(), "more_body": True})
        if await place.news(_WORD_EVERY_S):
            return
