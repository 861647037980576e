"""A client under orders from its standard input: talk.py PORT.

open N          opens connection N
trips N COUNT   so many round trips of 64 bytes
bulk N BYTES    sends so much while it reads the echo; prints the digest of what came back
file N          the same round trips through makefile(), which python does by recv and send
listen N        waits for the end of the stream, says which it was
close N
"""
import hashlib
import socket
import sys
import threading

port = int(sys.argv[1])
open_ones = {}


def pattern(size, seed):
    block = hashlib.sha256(str(seed).encode()).digest() * 2048
    return (block * (size // len(block) + 1))[:size]


for line in sys.stdin:
    order, number, *rest = line.split()
    if order == "open":
        open_ones[number] = socket.create_connection(("127.0.0.1", port))
        print("opened", number, flush=True)
        continue
    one = open_ones[number]
    if order == "trips":
        for i in range(int(rest[0])):
            message = b"%064d" % i
            one.sendall(message)
            got = b""
            while len(got) < 64:
                more = one.recv(64 - len(got))
                if not more:
                    raise SystemExit("the end after %d trips" % i)
                got += more
            if got != message:
                raise SystemExit("trip %d: %r" % (i, got))
        print("made", rest[0], "trips on", number, flush=True)
    elif order == "bulk":
        data = pattern(int(rest[0]), number)
        sender = threading.Thread(target=one.sendall, args=(data,))
        sender.start()
        digest, left = hashlib.sha256(), len(data)
        while left:
            got = one.recv(min(left, 100000))
            if not got:
                raise SystemExit("the end with %d to come" % left)
            digest.update(got)
            left -= len(got)
        sender.join()
        if digest.digest() != hashlib.sha256(data).digest():
            raise SystemExit("other bytes came back")
        print("echoed", rest[0], digest.hexdigest()[:16], flush=True)
    elif order == "file":
        with one.makefile("rwb") as both:
            for i in range(100):
                both.write(b"line %d\n" % i)
                both.flush()
                if both.readline() != b"line %d\n" % i:
                    raise SystemExit("line %d" % i)
        print("made 100 lines on", number, flush=True)
    elif order == "listen":
        try:
            got = one.recv(100)
            print("got", got, flush=True)
        except ConnectionResetError:
            print("got a reset", flush=True)
    elif order == "close":
        one.close()
        print("closed", number, flush=True)
