"""Asks a web_app over connections kept alive, four requests at once: web_client.py httpx|aiohttp PORT.

Small requests until the test says on standard input that it has seen enough, then what is compared.
"""
import asyncio
import hashlib
import sys
import threading

ending = threading.Event()


def listen():
    sys.stdin.readline()
    ending.set()


async def talk(get, post):
    while not ending.is_set():
        await asyncio.gather(*(get(100 + i) for i in range(4)))
    for size in [0, 1, 1000, 65536, 3000000]:
        print("get", size, hashlib.sha256(await get(size)).hexdigest()[:16])
        body = hashlib.sha256(b"%d" % size).digest() * (size // 32)
        print("post", size, await post(body) == body)
    for turn in range(50):
        bodies = await asyncio.gather(*(get(turn * 10 + i) for i in range(4)))
        print("turn", turn, [len(body) for body in bodies])


async def httpx(url):
    import httpx

    limits = httpx.Limits(max_connections=4, max_keepalive_connections=4)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def get(size):
            return (await client.get(f"{url}/{size}")).content

        async def post(body):
            return (await client.post(f"{url}/", content=body)).content

        await talk(get, post)


async def aiohttp(url):
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4)) as client:

        async def get(size):
            async with client.get(f"{url}/{size}") as response:
                return await response.read()

        async def post(body):
            async with client.post(f"{url}/", data=body) as response:
                return await response.read()

        await talk(get, post)
        async with client.ws_connect(f"{url}/socket") as both:
            for i in range(100):
                await both.send_str("message %d" % i)
                if await both.receive_str() != "MESSAGE %d" % i:
                    raise SystemExit("another message")
            print("100 messages")


threading.Thread(target=listen, daemon=True).start()
asyncio.run({"httpx": httpx, "aiohttp": aiohttp}[sys.argv[1]]("http://127.0.0.1:" + sys.argv[2]))
