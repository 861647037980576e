/* SO_LINGER: zero resets, with and without bytes on the way; else close waits and the peer sees the end. */
#include "case.h"

static void set(int fd, int on, int seconds)
{
	struct linger linger = {on, seconds};
	TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
}

void alice(void)
{
	int fd = pair_up();
	set(fd, 1, 0);
	settle_asleep(peer_pid());
	TRY(close(fd));
	meet();

	fd = pair_up();
	TRY(send(fd, "0123456789", 10, 0));
	meet();
	set(fd, 1, 0);
	TRY(close(fd));
	meet();

	fd = pair_up();
	set(fd, 1, 5);
	TRY(send(fd, "0123456789", 10, 0));
	long start = now_ms();
	TRY(close(fd));
	say_time("close", start, 0);
	meet();
}

void bob(void)
{
	char in[100];
	int fd = pair_up();
	TRY(recv(fd, in, 10, 0));
	TRY(recv(fd, in, 10, 0));
	TRY(send(fd, in, 10, MSG_NOSIGNAL));
	TRY(close(fd));
	meet();

	fd = pair_up();
	settle_readable(fd, 10);
	meet();
	meet();
	settle_reset(fd);
	struct pollfd one = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
	TRY(poll(&one, 1, 0));
	say_poll("reset", one.revents);
	say_bytes("before it", in, TRY(recv(fd, in, 100, 0)));
	TRY(recv(fd, in, 100, 0));
	TRY(recv(fd, in, 100, 0));
	TRY(close(fd));

	fd = pair_up();
	meet();
	say_rest(fd);
	TRY(close(fd));
}
