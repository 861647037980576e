/* Room for urgent data is nothing that TCP tells of, in epoll, poll or select. */
#include "case.h"

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLWRBAND, 7);
	say_events("band", set, 50);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLWRNORM | EPOLLWRBAND, 7);
	say_events("band and room", set, 50);
	struct pollfd band = {fd, POLLIN | POLLWRBAND, 0}, both = {fd, POLLIN | POLLWRNORM | POLLWRBAND, 0};
	TRY(poll(&band, 1, 50));
	TRY(poll(&both, 1, 50));
	say_poll("band and room", both.revents);
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	TRY(close(fd));
}
