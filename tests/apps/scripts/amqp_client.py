"""AMQP by pika: publishers that wait for confirmations, consumers that acknowledge, give back and vanish; one line per
part, the same in each run. Usage: amqp_client.py PORT"""

import hashlib
import sys
import threading

import pika

PORT = int(sys.argv[1])
COUNT = 300


def connect():
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", PORT))
    channel = connection.channel()
    channel.confirm_delivery()
    return connection, channel


def body(number, i):
    return b"%d-%d " % (number, i) * (20_000 if i % 50 == 0 else i % 100 + 1)


def digest(bodies):
    return hashlib.md5(b"".join(bodies)).hexdigest()


def pair(number, said):
    """A queue with a publisher and a consumer, each with a connection of its own: all bodies, in order."""
    queue = f"pair-{number}"
    connection, channel = connect()
    channel.queue_declare(queue)
    got = []

    def consume():
        connection, channel = connect()
        channel.basic_qos(prefetch_count=20)
        for method, _, message in channel.consume(queue):
            got.append(message)
            channel.basic_ack(method.delivery_tag)
            if len(got) == COUNT:
                break
        channel.cancel()
        connection.close()

    consumer = threading.Thread(target=consume)
    consumer.start()
    for i in range(COUNT):
        channel.basic_publish("", queue, body(number, i))
    consumer.join()
    connection.close()
    said[number] = f"pair {number}: {len(got)} {digest(got) == digest(body(number, i) for i in range(COUNT))}"


def fan_out():
    """One message to three queues, 8 MiB of it."""
    connection, channel = connect()
    channel.exchange_declare("all", "fanout")
    queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(3)]
    for queue in queues:
        channel.queue_bind(queue, "all")
    channel.basic_publish("all", "", bytes(range(256)) * 32768)
    got = [channel.basic_get(queue, auto_ack=True)[2] for queue in queues]
    print("fan out:", [len(message) for message in got], digest(got))
    connection.close()


def redelivery():
    """What a consumer had when it vanished comes again."""
    connection, channel = connect()
    channel.queue_declare("again")
    for i in range(10):
        channel.basic_publish("", "again", b"%d" % i)
    lost, hasty = connect()
    for _ in range(10):
        hasty.basic_get("again")
    lost.close()
    got = [channel.basic_get("again") for _ in range(10)]
    print("again:", [(method.redelivered, message) for method, _, message in got])
    channel.basic_nack(got[-1][0].delivery_tag, multiple=True, requeue=False)
    print("left:", channel.queue_declare("again", passive=True).method.message_count)
    try:
        channel.queue_declare("missing", passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        print("error:", error.reply_code)
    connection.close()


said = {}
pairs = [threading.Thread(target=pair, args=(number, said)) for number in range(4)]
for thread in pairs:
    thread.start()
for thread in pairs:
    thread.join()
print("\n".join(said[number] for number in range(4)))
fan_out()
redelivery()
