/* A one-shot registration that has fired, whose connection has left the ring, can be armed again by a new image. */
#include "case.h"

void again(int fd)
{
	int set = take(0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLONESHOT, .data.u64 = 7};
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
	say_events("armed again", set, 100);
	meet();
}

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 1);
	say_events("first", set, 100);
	struct pollfd p = {.fd = set, .events = POLLIN};
	TRY(poll(&p, 1, 0));
	say_events("silent", set, 0);
	give(0, set);
	exec_again(fd, false);
}

void bob(void)
{
	int fd = pair_up();
	meet();
	TRY(close(fd));
}
