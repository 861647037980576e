/* select for urgent data alone is not told of an end, and waits; for writing it is told of an error. */
#include "case.h"

void alice(void)
{
	int fd = broken_pair();
	settle_reset(fd);
	fd_set set, also;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	also = set;
	struct timeval time = {0, 200000};
	long start = now_ms();
	TRY(select(fd + 1, NULL, NULL, &set, &time));
	say_time("urgent", start, 200);
	say("rest %d", time.tv_usec == 0 && time.tv_sec == 0);
	time = (struct timeval){0, 200000};
	FD_SET(fd, &set);
	TRY(select(fd + 1, NULL, &also, &set, &time));
	say("writable %d, urgent %d", FD_ISSET(fd, &also), FD_ISSET(fd, &set));
	say("error %s", errno_name(socket_error(fd)));
	/* A DEL has no event. */
	int epoll = MUST(epoll_create1(0));
	watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 0);
	TRY(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, (void *)-4096L));
}

void bob(void)
{
	broken_pair();
}
