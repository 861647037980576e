"""Many connections in one asyncio loop: asyncio_client.py PORT; busy until its input ends; then more, and the sums."""
import asyncio
import hashlib
import sys

port = int(sys.argv[1])


async def talk(number, gate):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    digest = hashlib.sha256()

    async def trips(count):
        for i in range(count):
            message = b"%d:%d;" % (number, i) * (1 + i % 300)
            writer.write(message)
            await writer.drain()
            got = await reader.readexactly(len(message))
            assert got == message
            digest.update(got)

    await trips(100)
    while not gate.is_set():
        writer.write(b"busy")
        assert await reader.readexactly(4) == b"busy"
    await trips(50)
    # Both ways at once, more than any buffer.
    bulk = bytes([number]) * 3_000_000
    writer.write(bulk)
    got, _ = await asyncio.gather(reader.readexactly(len(bulk)), writer.drain())
    assert got == bulk
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    return digest.hexdigest()[:16]


async def main():
    gate = asyncio.Event()
    all_of_them = asyncio.gather(*(talk(number, gate) for number in range(8)))
    await asyncio.sleep(0)
    print("started", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    gate.set()
    for digest in await all_of_them:
        print(digest)


asyncio.run(main())
