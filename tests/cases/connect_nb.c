/* Non-blocking connect watched by epoll, and one whose first call after it is a write. */
#include "case.h"

void alice(void)
{
	char in[100];
	struct sockaddr_in there = bob_address();
	for (int round = 0; round < 3; round++) {
		int set = MUST(epoll_create1(0));
		int fd = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
		if (round == 1)
			watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 1);
		TRY(connect(fd, (void *)&there, sizeof there));
		if (round != 1)
			watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, 1);
		struct pollfd one = {fd, POLLOUT, 0};
		MUST(poll(&one, 1, 10000));
		/* An edge-triggered set that saw the unconnected socket tells its HUP, or only the connect, as it comes. */
		if (round != 1)
			say_events("connected", set, 10000);
		TRY(write(fd, "hello", 5));
		if (round == 2)
			TRY(connect(fd, (void *)&there, sizeof there));
		meet();
		settle_readable(fd, 5);
		say_events("answered", set, 10000);
		say_bytes("in", in, TRY(read(fd, in, 100)));
		set_nonblocking(fd, false);
		warm(fd);
		set_nonblocking(fd, true);
		TRY(read(fd, in, 100));
		meet();
		settle_fin(fd);
		say_events("end", set, 1000);
		TRY(close(fd));
		TRY(close(set));
	}
}

void bob(void)
{
	char in[100];
	for (int round = 0; round < 3; round++) {
		int fd = joined();
		say_bytes("in", in, TRY(recv(fd, in, 5, MSG_WAITALL)));
		send_all(fd, "world", 5);
		meet();
		warm(fd);
		meet();
		TRY(close(fd));
	}
}
