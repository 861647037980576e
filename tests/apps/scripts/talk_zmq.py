"""ZeroMQ, whose own thread does the input and output: talk_zmq.py serve|talk PORT. Replies, and a stream of work."""
import hashlib
import sys
import threading

import zmq

role, port = sys.argv[1], int(sys.argv[2])
context = zmq.Context()

if role == "serve":
    replies, work = context.socket(zmq.ROUTER), context.socket(zmq.PULL)
    replies.bind("tcp://127.0.0.1:%d" % port)
    results = context.socket(zmq.PUSH)
    work.bind("tcp://127.0.0.1:%d" % (port + 1))
    results.bind("tcp://127.0.0.1:%d" % (port + 2))
    poller = zmq.Poller()
    poller.register(replies, zmq.POLLIN)
    poller.register(work, zmq.POLLIN)
    while True:
        for socket, _ in poller.poll():
            if socket is replies:
                # Whose, an empty part, the question.
                parts = replies.recv_multipart()
                replies.send_multipart(parts[:-1] + [parts[-1][::-1]])
            else:
                results.send(hashlib.sha256(work.recv()).digest())

ending = threading.Event()


def listen():
    sys.stdin.readline()
    ending.set()


threading.Thread(target=listen, daemon=True).start()
requests = [context.socket(zmq.REQ) for _ in range(3)]
for one in requests:
    one.connect("tcp://127.0.0.1:%d" % port)
work, results = context.socket(zmq.PUSH), context.socket(zmq.PULL)
work.connect("tcp://127.0.0.1:%d" % (port + 1))
results.connect("tcp://127.0.0.1:%d" % (port + 2))


def ask(one, question):
    one.send(question)
    if one.recv() != question[::-1]:
        raise SystemExit("another answer")


while not ending.is_set():
    for one in requests:
        ask(one, b"how are you")
    work.send(b"x" * 100)
    results.recv()
for size in [0, 1, 255, 256, 65536, 3000000]:
    for i, one in enumerate(requests):
        ask(one, hashlib.sha256(b"%d" % i).digest() * (size // 32))
    print("asked", size)
pieces = [hashlib.sha256(b"%d" % i).digest() * (i % 300) for i in range(20000)]
sender = threading.Thread(target=lambda: [work.send(piece) for piece in pieces])
sender.start()
total = hashlib.sha256()
for _ in pieces:
    total.update(results.recv())
sender.join()
print("worked", total.hexdigest()[:16])
