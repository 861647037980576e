/* Close with unread bytes resets; what the other side had sent before, and does after. */
#include "case.h"

static char in[4096];

void alice(void)
{
	/* Nothing of bob's unread, alice's bytes unread by bob. */
	int fd = pair_up();
	TRY(send(fd, "unread", 6, 0));
	meet();
	meet();
	settle_reset(fd);
	struct pollfd one = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
	TRY(poll(&one, 1, 0));
	say_poll("reset", one.revents);
	TRY(recv(fd, in, 10, 0));
	TRY(recv(fd, in, 10, 0));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(close(fd));
	/* Bob's bytes unread by alice too: they come before the reset. */
	fd = pair_up();
	TRY(send(fd, "unread", 6, 0));
	meet();
	meet();
	settle_reset(fd);
	say_bytes("before", in, TRY(recv(fd, in, 100, 0)));
	TRY(recv(fd, in, 10, 0));
	TRY(recv(fd, in, 10, 0));
	TRY(close(fd));
	/* The writer learns of it first. */
	fd = pair_up();
	TRY(send(fd, "unread", 6, 0));
	meet();
	meet();
	settle_reset(fd);
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(recv(fd, in, 10, 0));
	TRY(close(fd));
	/* Asleep in recv. */
	fd = pair_up();
	TRY(send(fd, "unread", 6, 0));
	TRY(recv(fd, in, 10, 0));
	TRY(close(fd));
	/* Asleep in epoll. */
	fd = pair_up();
	int set = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	TRY(send(fd, "unread", 6, 0));
	say_events("reset", set, 10000);
	TRY(close(fd));
	/* Bob has shut down before: his end, then the reset. */
	fd = pair_up();
	meet();
	settle_fin(fd);
	TRY(recv(fd, in, 10, 0));
	TRY(send(fd, "unread", 6, 0));
	meet();
	meet();
	settle_reset(fd);
	TRY(recv(fd, in, 10, 0));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(close(fd));
}

void bob(void)
{
	for (int i = 0; i < 6; i++) {
		int fd = pair_up();
		if (i == 1)
			TRY(send(fd, "from bob", 8, 0));
		if (i == 5) {
			TRY(shutdown(fd, SHUT_WR));
			meet();
		}
		if (i >= 3 && i < 5)
			settle_asleep(peer_pid());
		settle_readable(fd, 6);
		if (i < 3 || i == 5)
			meet();
		TRY(close(fd));
		if (i < 3 || i == 5)
			meet();
	}
}
