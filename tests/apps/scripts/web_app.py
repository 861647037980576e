"""One web application for three kinds of servers: GET /SIZE gives so many bytes, POST / gives back what came.

As a WSGI application for gunicorn (web_app:wsgi), as an ASGI one for uvicorn (web_app:asgi), by itself for aiohttp:
web_app.py PORT.
"""
import hashlib
import sys


def pattern(size):
    block = hashlib.sha256(str(size).encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def wsgi(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    else:
        body = pattern(int(environ["PATH_INFO"][1:]))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    # In pieces, which the server sends one by one.
    return [body[at : at + 100000] for at in range(0, len(body), 100000)]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["method"] == "GET":
        body = pattern(int(scope["path"][1:]))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for at in range(0, len(body), 100000):
        await send({"type": "http.response.body", "body": body[at : at + 100000], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def aiohttp(port):
    from aiohttp import web

    async def get(request):
        return web.Response(body=pattern(int(request.match_info["size"])))

    async def post(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    async def socket(request):
        both = web.WebSocketResponse()
        await both.prepare(request)
        async for message in both:
            await both.send_str(message.data.upper())
        return both

    app = web.Application(client_max_size=0)
    app.add_routes([web.get("/socket", socket), web.get("/{size}", get), web.post("/", post)])
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    aiohttp(int(sys.argv[1]))
