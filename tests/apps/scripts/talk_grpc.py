"""gRPC with messages that are plain bytes: talk_grpc.py serve|talk PORT. One to one, and streams both ways."""
import hashlib
import sys
import threading
from concurrent import futures

import grpc

role, port = sys.argv[1], int(sys.argv[2])
LARGE = [("grpc.max_receive_message_length", 1 << 26), ("grpc.max_send_message_length", 1 << 26)]

if role == "serve":

    class Echo(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method == "/echo/one":
                return grpc.unary_unary_rpc_method_handler(lambda question, context: question[::-1])
            if details.method == "/echo/many":
                return grpc.stream_stream_rpc_method_handler(
                    lambda questions, context: (question[::-1] for question in questions)
                )

    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Echo()], options=LARGE)
    server.add_insecure_port("127.0.0.1:%d" % port)
    server.start()
    server.wait_for_termination()

ending = threading.Event()


def listen():
    sys.stdin.readline()
    ending.set()


threading.Thread(target=listen, daemon=True).start()
# A connection of its own for each channel.
channels = [
    grpc.insecure_channel("127.0.0.1:%d" % port, LARGE + [("grpc.use_local_subchannel_pool", 1)]) for _ in range(2)
]


def one(channel, question):
    if channel.unary_unary("/echo/one")(question, wait_for_ready=True) != question[::-1]:
        raise SystemExit("another answer")


while not ending.is_set():
    for channel in channels:
        one(channel, b"how are you")
for size in [0, 1, 1000, 100000, 5000000]:
    for i, channel in enumerate(channels):
        one(channel, hashlib.sha256(b"%d" % i).digest() * (size // 32))
    print("asked", size)
for channel in channels:
    questions = (hashlib.sha256(b"%d" % i).digest() * (i % 200) for i in range(3000))
    total = hashlib.sha256()
    for answer in channel.stream_stream("/echo/many")(questions):
        total.update(answer)
    print("streamed", total.hexdigest()[:16])
try:
    channels[0].unary_unary("/echo/none")(b"")
except grpc.RpcError as error:
    print("refused", error.code())
