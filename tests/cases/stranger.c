/* A thread sleeps in a call, or is in the middle of a long one; its descriptor is closed, and the number at once taken by
 * a pair of Unix sockets. The call goes on with the connection, and does not touch the stranger. */
#include "case.h"

enum { LONG = 24 << 20 };
static int fd;
static _Atomic int tid;
static char in[1 << 16];

static void *receiver(void *unused)
{
	(void)unused;
	char mine[100];
	atomic_store(&tid, gettid());
	say_bytes("receiver", mine, TRY(recv(fd, mine, 10, 0)));
	return NULL;
}

static void *sender(void *way)
{
	char *data = mmap(NULL, LONG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec parts[24];
	fill(data, LONG, 1, 0);
	for (int i = 0; i < 24; i++)
		parts[i] = (struct iovec){data + i * (1 << 20), 1 << 20};
	atomic_store(&tid, gettid());
	long sent = way ? writev(fd, parts, 24) : send(fd, data, LONG, 0);
	say("sender: %s", sent == LONG ? "all" : sent < 0 ? errno_name(errno) : "part");
	return NULL;
}

void alice(void)
{
	for (int way = 0; way < 3; way++) {
		int pair[2];
		fd = pair_up();
		atomic_store(&tid, 0);
		pthread_t other = thread(way ? sender : receiver, way == 2 ? &fd : NULL);
		while (!atomic_load(&tid))
			nap_ms(1);
		settle_asleep(atomic_load(&tid));
		MUST(close(fd));
		MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
		say("same number %d", pair[0] == fd);
		MUST(write(pair[1], "stranger's", 10));
		meet();
		pthread_join(other, NULL);
		say("the stranger's own: %ld", (long)recv(pair[0], in, 100, MSG_DONTWAIT));
		TRY(recv(pair[1], in, 100, MSG_DONTWAIT));
		close(pair[0]);
		close(pair[1]);
		meet();
	}
}

void bob(void)
{
	for (int way = 0; way < 3; way++) {
		fd = pair_up();
		meet();
		if (!way) {
			TRY(send(fd, "0123456789", 10, 0));
			TRY(recv(fd, in, 1, 0));
		} else {
			long got, sum = 0;
			while ((got = MUST(recv(fd, in, sizeof in, 0))) > 0) {
				CHECK(is_fill(in, got, 1, sum));
				sum += got;
			}
			say("all: %d", sum == LONG);
		}
		meet();
		close(fd);
	}
}
