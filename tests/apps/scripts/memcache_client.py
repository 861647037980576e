"""A real memcached client: memcache_client.py PORT; keeps its connections busy until its input ends."""
import hashlib
import sys
import threading
from pymemcache.client.base import Client

port = int(sys.argv[1])
results = {}
go_on = threading.Event()


def work(number):
    client = Client(("127.0.0.1", port))
    said = []
    for i in range(200):
        key = "k%d-%d" % (number, i)
        client.set(key, b"value %d" % i)
        said.append(client.get(key))
    big = hashlib.sha256(b"%d" % number).digest() * 16000
    client.set("big%d" % number, big)
    said.append(hashlib.sha256(client.get("big%d" % number)).hexdigest())
    while not go_on.wait(0.001):
        client.get("k%d-0" % number)
    client.set("n%d" % number, "10")
    said += [client.incr("n%d" % number, 5), client.decr("n%d" % number, 3)]
    said += [client.add("k%d-1" % number, b"x", noreply=False), client.replace("none%d" % number, b"x", noreply=False)]
    said.append(client.append("k%d-1" % number, b" more", noreply=False))
    value, token = client.gets("k%d-1" % number)
    said += [value, client.cas("k%d-1" % number, b"new", token, noreply=False)]
    said += [client.cas("k%d-1" % number, b"newer", token, noreply=False)]
    many = client.get_many(["k%d-%d" % (number, i) for i in range(150)])
    said += [sorted(many.items())]
    said.append(client.delete("k%d-2" % number, noreply=False))
    said.append(client.get("k%d-2" % number))
    results[number] = said
    client.close()


threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for one in threads:
    one.start()
print("started", flush=True)
sys.stdin.read()
go_on.set()
for one in threads:
    one.join()
for number in sorted(results):
    print(results[number])
