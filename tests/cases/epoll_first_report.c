/* The first report after a registration brings all that is ready, also where one bit is the ring's and the other TCP's. */
#include "case.h"

enum { ROUNDS = 24 };

void alice(void)
{
	char in[10];
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC)), other = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 0);
	say_events("nothing to read", set, 0);
	for (int i = 0; i < ROUNDS; i++) {
		meet();
		settle_readable(fd, 1);
		/* A set asks the kernel now and then: each round finds it at another moment. */
		for (int j = 0; j < i % 8; j++)
			say_events("silent", set, 0);
		if (i < 8)
			watch(other, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, i);
		else
			watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | (i < 16 ? EPOLLONESHOT : EPOLLET), i);
		say_events("both", i < 8 ? other : set, 0);
		if (i < 8)
			MUST(epoll_ctl(other, EPOLL_CTL_DEL, fd, NULL));
		TRY(recv(fd, in, sizeof in, 0));
		watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, i);
		say_events("nothing to read", set, 0);
		meet();
	}
}

void bob(void)
{
	int fd = pair_up(), file = MUST(memfd_create("one", 0));
	MUST(write(file, "o", 1));
	for (int i = 0; i < ROUNDS; i++) {
		off_t start = 0;
		meet();
		TRY(sendfile(fd, file, &start, 1));
		meet();
	}
}
