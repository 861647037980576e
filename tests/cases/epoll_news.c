/* Edge-triggered: what is ready at a report is told, whatever the news was; an armed registration tells of the end again. */
#include "case.h"

static char in[10];

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 1);
	say_events("room", set, 0);
	meet();
	meet();
	settle_readable(fd, 1);
	TRY(recv(fd, in, 1, 0));
	say_events("came and went", set, 1000);
	say_events("quiet", set, 50);
	meet();
	settle_fin(fd);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLRDHUP, 2);
	say_events("end", set, 1000);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLRDHUP | EPOLLET, 3);
	say_events("end", set, 1000);
	TRY(shutdown(fd, SHUT_WR));
	watch(set, EPOLL_CTL_MOD, fd, EPOLLET, 4);
	say_events("both ends", set, 1000);
	TRY(close(fd));
	meet();
}

void bob(void)
{
	int fd = pair_up();
	meet();
	TRY(send(fd, "x", 1, 0));
	meet();
	meet();
	TRY(shutdown(fd, SHUT_WR));
	meet();
	TRY(close(fd));
}
