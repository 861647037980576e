/* An edge of bytes that came through TCP is told once, however often the set is asked. */
#include "case.h"

void alice(void)
{
	char in[10];
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 0);
	say_events("nothing to read", set, 0);
	for (int i = 0; i < 16; i++) {
		meet();
		settle_readable(fd, 1);
		int other = MUST(epoll_create1(EPOLL_CLOEXEC));
		if (i < 8) {
			for (int j = 0; j < i; j++)
				say_events("silent", set, 0);
			watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLET, i);
		} else
			watch(other, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET, i);
		for (int j = 0; j < 20; j++)
			say_events("both once", i < 8 ? set : other, j == 19 ? 10 : 0);
		TRY(recv(fd, in, sizeof in, 0));
		close(other);
		watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, i);
		say_events("nothing to read", set, 0);
		meet();
	}
}

void bob(void)
{
	int fd = pair_up(), file = MUST(memfd_create("one", 0));
	MUST(write(file, "o", 1));
	for (int i = 0; i < 16; i++) {
		off_t start = 0;
		meet();
		TRY(sendfile(fd, file, &start, 1));
		meet();
	}
}
