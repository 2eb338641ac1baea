"""A chat page that tells what reached it, and answers in the ways that a proxy is known to spoil.

/seen      the headers that came, as JSON
/cookies   sets a cookie of its own and one of sign-on's
/policy    has a content policy of its own
/packed    is compressed already
/slow      five lines, one each 100 ms
/upload    how many bytes came
/ws        repeats what it is told
"""

from __future__ import annotations

import asyncio
import gzip

from aiohttp import WSMsgType, web


async def seen(request: web.Request) -> web.Response:
    return web.json_response({name.lower(): value for name, value in request.headers.items()})


async def cookies(request: web.Request) -> web.Response:
    response = web.Response(text="ok")
    response.headers.add("Set-Cookie", "token=1; Path=/; Secure")
    response.headers.add("Set-Cookie", "__Host-appliance-session=stolen; Path=/; Secure")
    return response


async def policy(request: web.Request) -> web.Response:
    return web.Response(text="ok", headers={"Content-Security-Policy": "default-src 'self'", "Server": "page"})


async def packed(request: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(b"packed"), headers={"Content-Encoding": "gzip"})


async def slow(request: web.Request) -> web.StreamResponse:
    # Not the type of events: that one Caddy would never hold back.
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    for place in range(5):
        await response.write(f"data: {place}\n\n".encode())
        await asyncio.sleep(0.1)
    return response


async def upload(request: web.Request) -> web.Response:
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
    return web.Response(text=str(size))


async def repeat(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(f"you said {message.data}")
    return socket


async def main() -> None:
    """Serve on a free port of the loopback, which is printed."""
    application = web.Application()
    for path, handler in (("/seen", seen), ("/cookies", cookies), ("/policy", policy), ("/packed", packed)):
        application.router.add_get(path, handler)
    application.router.add_get("/slow", slow)
    application.router.add_post("/upload", upload)
    application.router.add_get("/ws", repeat)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
