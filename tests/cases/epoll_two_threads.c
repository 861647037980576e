/* Two threads wait in one set, each for one event at a time: what one finds and leaves behind wakes the other. */
#include "case.h"

enum { ROUNDS = 300 };
static int set, fds[2];
static _Atomic int told;
static int rounds[2];

static void *waits(void *unused)
{
	(void)unused;
	for (;;) {
		struct epoll_event event;
		CHECK(epoll_wait(set, &event, 1, -1) == 1);
		if (event.data.u64 == 9)
			return NULL;
		/* Nothing else is done until the other one has been told, too. */
		int even = (++told + 1) / 2 * 2;
		while (told < even)
			;
		int at = event.data.u64;
		char byte;
		CHECK(recv(fds[at], &byte, 1, 0) == 1);
		/* Armed again it may be the other thread's. */
		int round = ++rounds[at];
		watch(set, EPOLL_CTL_MOD, fds[at], EPOLLIN | EPOLLONESHOT, at);
		give(at, round);
	}
}

void alice(void)
{
	int end[2];
	set = MUST(epoll_create1(EPOLL_CLOEXEC));
	for (int i = 0; i < 2; i++) {
		fds[i] = pair_up();
		watch(set, EPOLL_CTL_ADD, fds[i], EPOLLIN | EPOLLONESHOT, i);
	}
	MUST(pipe(end));
	pthread_t threads[2] = {thread(waits, NULL), thread(waits, NULL)};
	meet();
	meet();
	watch(set, EPOLL_CTL_ADD, end[0], EPOLLIN, 9);
	MUST(write(end[1], "x", 1));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("told %d", told);
	meet();
}

void bob(void)
{
	int own[2];
	for (int i = 0; i < 2; i++)
		own[i] = pair_up();
	meet();
	for (int i = 1; i <= ROUNDS; i++) {
		MUST(send(own[0], "x", 1, 0));
		MUST(send(own[1], "x", 1, 0));
		while (take(0) < i || take(1) < i)
			;
		/* The next ones come into a spin, or into a sleep. */
		if (i % 3 == 0)
			nap_ms(1);
	}
	meet();
	meet();
}
