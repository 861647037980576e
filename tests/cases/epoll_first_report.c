/* The first report after a registration brings all that is ready, also where one bit is the ring's and the other TCP's, and
 * it is the only one. */
#include "case.h"

enum { MOMENTS = 8, ROUNDS = 4 * MOMENTS };

void alice(void)
{
	char in[10];
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 0);
	say_events("nothing to read", set, 0);
	for (int i = 0; i < ROUNDS; i++) {
		meet();
		settle_readable(fd, 1);
		bool added = i / MOMENTS & 1;
		uint32_t once = i / MOMENTS & 2 ? EPOLLET : EPOLLONESHOT;
		int used = added ? MUST(epoll_create1(EPOLL_CLOEXEC)) : set;
		/* A set asks the kernel now and then: each round finds it at another moment. */
		for (int j = 0; j < i % MOMENTS; j++)
			say_events("silent", set, 0);
		watch(used, added ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | once, i);
		say_events("both", used, 0);
		for (int j = 0; j < 20; j++)
			say_events("told", used, j == 19 ? 10 : 0);
		TRY(recv(fd, in, sizeof in, 0));
		if (added)
			MUST(close(used));
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
