/* A one-shot registration that has fired, taken out of the set by a child: its parent's calls find it gone. */
#include "case.h"

static int fd, set;

static void scene(int which)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLONESHOT, .data.u64 = 7};
	int status;
	fd = pair_up();
	set = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 1);
	say_events("first", set, 100);
	struct pollfd p = {.fd = set, .events = POLLIN};
	TRY(poll(&p, 1, 0));
	pid_t child = MUST(fork());
	if (!child) {
		TRY(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
		_exit(0);
	}
	waitpid(child, &status, 0);
	say_status("child", status);
	if (which == 0)
		TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
	else if (which == 1)
		TRY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
	else
		TRY(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
	say_events("then", set, 50);
	close(set);
	meet();
	close(fd);
}

void alice(void)
{
	for (int i = 0; i < 3; i++)
		scene(i);
}

void bob(void)
{
	for (int i = 0; i < 3; i++) {
		int f = pair_up();
		meet();
		close(f);
	}
}
