/* A connection that has left the ring is heard of in its set, also while another one is always ready there. */
#include "case.h"

static char in[100];

void alice(void)
{
	int a = pair_up(), b = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, a, EPOLLIN, 1);
	watch(set, EPOLL_CTL_ADD, b, EPOLLIN, 2);
	meet();
	settle_readable(a, 8);
	settle_readable(b, 4);
	settle_events(set, 2);
	say_events("both", set, 1000);
	TRY(send(b, "!", 1, MSG_OOB));
	TRY(recv(b, in, 100, 0));
	say_events("one", set, 1000);
	meet();
	settle_readable(b, 4);
	bool told = false;
	for (long start = now_ms(); !told && now_ms() < start + 1000;) {
		struct epoll_event events[4];
		int n = MUST(epoll_wait(set, events, 4, 1000));
		for (int i = 0; i < n; i++)
			told |= events[i].data.u64 == 2;
	}
	say("the other is told of: %d", told);
	TRY(recv(b, in, 100, 0));
	meet();
	TRY(close(a));
	TRY(close(b));
}

void bob(void)
{
	int a = pair_up(), b = pair_up();
	TRY(send(a, "01234567", 8, 0));
	TRY(send(b, "abcd", 4, 0));
	meet();
	meet();
	TRY(send(b, "efgh", 4, 0));
	meet();
}
