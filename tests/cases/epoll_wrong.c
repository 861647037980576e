/* What epoll refuses: no set, no descriptor, no room, no events; a connection is none the worse for it. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up(), other = pair_up(), pipes[2], set = MUST(epoll_create1(0));
	MUST(pipe(pipes));
	struct epoll_event one = {EPOLLIN, {.u64 = 1}}, found[4];
	static const int wrong[] = {EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 99};
	for (int i = 0; i < 4; i++) {
		say("operation %d", wrong[i]);
		TRY(epoll_ctl(-1, wrong[i], fd, &one));
		TRY(epoll_ctl(999, wrong[i], fd, &one));
		TRY(epoll_ctl(pipes[0], wrong[i], fd, &one));
		TRY(epoll_ctl(other, wrong[i], fd, &one));
		TRY(epoll_ctl(fd, wrong[i], fd, &one));
		TRY(epoll_ctl(set, wrong[i], set, &one));
		TRY(epoll_ctl(set, wrong[i], -1, &one));
		TRY(epoll_ctl(set, wrong[i], fd, NULL));
	}
	TRY(epoll_ctl(set, 99, fd, &one));
	/* The number of what was no set is a set's. */
	MUST(close(pipes[0]));
	CHECK(epoll_create1(0) == pipes[0]);
	watch(pipes[0], EPOLL_CTL_ADD, fd, EPOLLIN, 2);
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	meet();
	settle_readable(fd, 10);
	for (int i = 0; i < 2; i++) {
		int at = i ? pipes[0] : set;
		TRY(epoll_wait(at, found, 0, 0));
		TRY(epoll_wait(at, found, -1, 0));
		TRY(epoll_wait(at, found, INT32_MAX / 12 + 1, 0));
		TRY(epoll_wait(at, found, INT32_MAX, 0));
		TRY(epoll_pwait(at, found, 0, 0, NULL));
		say_events("data", at, 1000);
	}
	TRY(epoll_wait(fd, found, 4, 0));
	TRY(epoll_wait(-1, found, 4, 0));
	TRY(recv(fd, in, 10, 0));
	say_events("nothing", set, 0);
	/* Still where it was. */
	warm(fd);
	meet();
	close(fd);
}

void bob(void)
{
	int fd = pair_up();
	pair_up();
	meet();
	send_all(fd, "0123456789", 10);
	warm(fd);
	meet();
	close(fd);
}
