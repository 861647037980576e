"""A small FastCGI client that keeps its connections: fastcgi.py PORT SCRIPT. Four at once, in threads.

Small requests until the test says on standard input that it has seen enough, then what is compared.
"""
import hashlib
import socket
import struct
import sys
import threading

port, script = int(sys.argv[1]), sys.argv[2]
BEGIN, PARAMS, STDIN, STDOUT, END = 1, 4, 5, 6, 3
ending = threading.Event()


def record(kind, content=b""):
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


def pair(name, value):
    long = lambda text: bytes([len(text)]) if len(text) < 128 else struct.pack("!I", len(text) | 1 << 31)
    return long(name) + long(value) + name + value


def exactly(one, size):
    got = bytearray()
    while len(got) < size:
        more = one.recv(size - len(got))
        if not more:
            raise SystemExit("the end")
        got += more
    return bytes(got)


def ask(one, size, body=b""):
    names = {
        "SCRIPT_FILENAME": script,
        "QUERY_STRING": "size=%d" % size,
        "REQUEST_METHOD": "POST" if body else "GET",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    # Responder, keep the connection.
    message = record(BEGIN, struct.pack("!HB5x", 1, 1))
    message += record(PARAMS, b"".join(pair(k.encode(), v.encode()) for k, v in names.items())) + record(PARAMS)
    for at in range(0, len(body), 32768):
        message += record(STDIN, body[at : at + 32768])
    one.sendall(message + record(STDIN))
    out = b""
    while True:
        _, kind, _, length, padding = struct.unpack("!BBHHBx", exactly(one, 8))
        content = exactly(one, length + padding)[:length]
        if kind == STDOUT:
            out += content
        elif kind == END:
            return out.split(b"\r\n\r\n", 1)[1]


def work(number, said):
    with socket.create_connection(("127.0.0.1", port)) as one:
        while not ending.is_set():
            ask(one, 100)
        for i in range(50):
            said.append("%d %d" % (i, len(ask(one, i * 100))))
        for size in [0, 1, 65536, 2000000]:
            body = hashlib.sha256(b"%d" % number).digest() * (size // 32 + 1)
            said.append(hashlib.sha256(ask(one, size, body)).hexdigest()[:16])


said = [[] for _ in range(4)]
threads = [threading.Thread(target=work, args=(i, said[i])) for i in range(4)]
for thread in threads:
    thread.start()
sys.stdin.readline()
ending.set()
for thread in threads:
    thread.join()
for lines in said:
    print("\n".join(lines))
