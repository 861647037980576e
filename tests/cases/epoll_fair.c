/* Two connections that are always readable, in a set that is asked for one event at a time: both get their turns. */
#include "case.h"

void alice(void)
{
	static char data[2000];
	int first = pair_up(), second = pair_up();
	send_all(first, data, sizeof data);
	send_all(second, data, sizeof data);
	meet();
	meet();
}

void bob(void)
{
	int fds[2], set = MUST(epoll_create1(EPOLL_CLOEXEC)), served[2] = {0, 0};
	for (int i = 0; i < 2; i++) {
		fds[i] = pair_up();
		watch(set, EPOLL_CTL_ADD, fds[i], EPOLLIN, i);
	}
	meet();
	for (int i = 0; i < 2; i++)
		settle_readable(fds[i], 2000);
	for (int i = 0; i < 1000; i++) {
		struct epoll_event event;
		char byte;
		CHECK(epoll_wait(set, &event, 1, 1000) == 1);
		CHECK(recv(fds[event.data.u64], &byte, 1, MSG_DONTWAIT) == 1);
		served[event.data.u64]++;
	}
	say("both served: %d", served[0] > 300 && served[1] > 300);
	meet();
}
