/* Both ends in one process: one thread, then two; and a socket that connects to itself. */
#include "case.h"

static char data[1 << 20];
static int to;

static void *writer(void *unused)
{
	(void)unused;
	fill(data, sizeof data, 1, 0);
	CHECK(send(to, data, sizeof data, 0) == sizeof data);
	MUST(shutdown(to, SHUT_WR));
	return NULL;
}

void alice(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof here;
	char in[4096];
	int listening = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(bind(listening, (void *)&here, sizeof here));
	MUST(listen(listening, 5));
	MUST(getsockname(listening, (void *)&here, &size));
	int a = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(connect(a, (void *)&here, sizeof here));
	int b = MUST(accept(listening, NULL, NULL));
	warm_self(a, b);
	TRY(send(a, "hello", 5, 0));
	settle_readable(b, 5);
	say_bytes("in", in, TRY(recv(b, in, 100, 0)));
	/* One epoll set for both. */
	int set = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, a, EPOLLIN, 1);
	watch(set, EPOLL_CTL_ADD, b, EPOLLIN, 2);
	TRY(send(b, "world", 5, 0));
	settle_readable(a, 5);
	say_events("one", set, 1000);
	TRY(send(a, "world", 5, 0));
	settle_readable(b, 5);
	say_events("both", set, 1000);
	TRY(recv(a, in, 100, 0));
	TRY(recv(b, in, 100, 0));
	to = a;
	pthread_t other = thread(writer, NULL);
	size_t done = 0;
	long got;
	while ((got = MUST(recv(b, in, sizeof in, 0))) > 0) {
		CHECK(is_fill(in, got, 1, done));
		done += got;
	}
	pthread_join(other, NULL);
	say("all: %zu", done);
	TRY(close(a));
	TRY(close(b));
	/* Simultaneous open with itself. */
	int self = MUST(socket(AF_INET, SOCK_STREAM, 0));
	here.sin_port = 0;
	MUST(bind(self, (void *)&here, sizeof here));
	MUST(getsockname(self, (void *)&here, &size));
	TRY(connect(self, (void *)&here, sizeof here));
	for (int i = 0; i < 300; i++) {
		CHECK(send(self, "0123456789", 10, 0) == 10);
		recv_all(self, in, 10);
	}
	TRY(shutdown(self, SHUT_WR));
	TRY(recv(self, in, 10, 0));
	TRY(close(self));
}

void bob(void)
{
}
