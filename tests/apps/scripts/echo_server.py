"""An echo server in each of Python's ways to serve: echo_server.py threads|asyncio|select|forking PORT."""
import asyncio
import selectors
import socket
import socketserver
import sys

way, port = sys.argv[1], int(sys.argv[2])


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def serve():
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def select():
    chosen = selectors.SelectSelector()
    listener = socket.create_server(("127.0.0.1", port))
    listener.setblocking(False)
    chosen.register(listener, selectors.EVENT_READ)
    waiting = {}
    while True:
        for key, events in chosen.select():
            one = key.fileobj
            if one is listener:
                accepted, _ = listener.accept()
                accepted.setblocking(False)
                waiting[accepted] = b""
                chosen.register(accepted, selectors.EVENT_READ)
                continue
            if events & selectors.EVENT_READ and len(waiting[one]) < 1 << 20:
                data = one.recv(65536)
                if not data:
                    chosen.unregister(one)
                    one.setblocking(True)
                    one.sendall(waiting.pop(one))
                    one.close()
                    continue
                waiting[one] += data
            if waiting[one]:
                try:
                    sent = one.send(waiting[one])
                    waiting[one] = waiting[one][sent:]
                except BlockingIOError:
                    pass
            chosen.modify(one, selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting[one] else 0))


if way == "threads":
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer(("127.0.0.1", port), Echo).serve_forever()
elif way == "forking":
    socketserver.ForkingTCPServer.allow_reuse_address = True
    socketserver.ForkingTCPServer(("127.0.0.1", port), Echo).serve_forever()
elif way == "asyncio":
    asyncio.run(serve())
else:
    select()
