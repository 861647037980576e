/* A set whose only registration has fired is not readable itself, whatever waits on the connection. */
#include "case.h"

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(0));
	char in[4];
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 1);
	meet();
	settle_readable(fd, 2);
	say_events("shot", set, 2000);
	struct pollfd p = {.fd = set, .events = POLLIN};
	TRY(poll(&p, 1, 0));
	say_events("silent", set, 0);
	TRY(poll(&p, 1, 0));
	TRY(recv(fd, in, 2, 0));
	TRY(poll(&p, 1, 0));
	struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, .data.u64 = 7};
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
	meet();
}

void bob(void)
{
	int fd = pair_up();
	meet();
	send_all(fd, "ab", 2);
	meet();
	TRY(close(fd));
}
