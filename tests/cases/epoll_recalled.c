/* A forked child makes a connection leave the ring; its parent, which never waits, still hears of it in its epoll set. */
#include "case.h"

static char in[10];

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, 1);
	say_events("room", set, 0);
	pid_t child = MUST(fork());
	if (!child) {
		int low = 5;
		TRY(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
		_exit(0);
	}
	int status;
	MUST(waitpid(child, &status, 0));
	say_events("room", set, 0);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLOUT, 2);
	say_events("room", set, 0);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 3);
	say_events("nothing", set, 0);
	meet();
	meet();
	settle_readable(fd, 8);
	say_events("bytes", set, 0);
	say_events("bytes", set, 1000);
	TRY(recv(fd, in, 10, 0));
	say_events("nothing", set, 0);
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	TRY(send(fd, "01234567", 8, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
}
