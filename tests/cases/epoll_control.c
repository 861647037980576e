/* epoll_ctl's refusals and its effects: ADD twice, MOD and DEL of what is not there, bad arguments, two sets, nesting. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(0)), other = MUST(epoll_create(5)), outer = MUST(epoll_create1(0));
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0xffffffffffffffff};
	TRY(epoll_create1(1));
	TRY(epoll_create(0));
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
	TRY(epoll_ctl(set, EPOLL_CTL_DEL, fd, &event));
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, 999, &event));
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, set, &event));
	TRY(epoll_ctl(fd, EPOLL_CTL_ADD, set, &event));
	TRY(epoll_ctl(999, EPOLL_CTL_ADD, fd, &event));
	TRY(epoll_ctl(set, 77, fd, &event));
	TRY(epoll_wait(set, &event, 0, 0));
	TRY(epoll_wait(set, &event, -1, 0));
	TRY(epoll_wait(fd, &event, 1, 0));
	TRY(epoll_wait(999, &event, 1, 0));
	/* Two sets, one of them with the dup. */
	int twin = MUST(dup(fd));
	watch(other, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 2);
	watch(other, EPOLL_CTL_ADD, twin, EPOLLIN, 3);
	/* And a set in a set. */
	watch(outer, EPOLL_CTL_ADD, set, EPOLLIN, 4);
	struct pollfd both[2] = {{set, POLLIN, 0}, {outer, POLLIN, 0}};
	say_events("outer, quiet", outer, 50);
	TRY(poll(both, 2, 0));
	meet();
	settle_readable(fd, 10);
	say_events("set", set, 1000);
	say_events("other", other, 1000);
	say_events("other", other, 1000);
	say_events("outer", outer, 1000);
	TRY(poll(both, 2, 1000));
	say_poll("set", both[0].revents);
	say_poll("outer", both[1].revents);
	/* DEL from one leaves the other. */
	TRY(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
	say_events("set", set, 50);
	say_events("other", other, 1000);
	/* Closing one of two numbers leaves both registrations. */
	TRY(close(fd));
	say_events("other", other, 1000);
	TRY(epoll_ctl(other, EPOLL_CTL_DEL, fd, NULL));
	TRY(recv(twin, in, 10, 0));
	meet();
	settle_readable(twin, 10);
	say_events("other", other, 1000);
	TRY(close(twin));
	say_events("other", other, 50);
	meet();
	/* maxevents: each gets its turn. */
	int fds[4];
	for (int i = 0; i < 4; i++) {
		fds[i] = pair_up();
		watch(set, EPOLL_CTL_ADD, fds[i], EPOLLIN, i);
	}
	meet();
	for (int i = 0; i < 4; i++)
		settle_readable(fds[i], 1);
	/* Who looks at one of them sees bytes whose sender is about to ring. */
	settle_events(set, 4);
	int seen[4] = {0};
	for (int i = 0; i < 40; i++) {
		CHECK(epoll_wait(set, &event, 1, 1000) == 1);
		seen[event.data.u64]++;
	}
	say("turns: %d %d %d %d", seen[0] > 4, seen[1] > 4, seen[2] > 4, seen[3] > 4);
	say_events("all", set, 1000);
	say_events("outer", outer, 1000);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	say_events("none", set, 50);
}

void bob(void)
{
	int fd = pair_up();
	meet();
	send_all(fd, "0123456789", 10);
	meet();
	send_all(fd, "0123456789", 10);
	meet();
	/* alice left ten bytes unread. */
	settle_reset(fd);
	TRY(recv(fd, in, 1, 0));
	int fds[4];
	for (int i = 0; i < 4; i++)
		fds[i] = pair_up();
	for (int i = 0; i < 4; i++)
		send_all(fds[i], "x", 1);
	meet();
	for (int i = 0; i < 4; i++) {
		TRY(recv(fds[i], in, 1, 0));
	}
}
