/* An epoll set is closed while a thread waits in it: that wait hears of what happens all the same. */
#include "case.h"

static int fd, set, other_set;
static _Atomic pid_t waiter;

static void *wait_in(void *unused)
{
	struct epoll_event event = {0};
	(void)unused;
	waiter = gettid();
	TRY(epoll_wait(set, &event, 1, 10000));
	say_epoll("told", event.events);
	say("of %ld", (long)event.data.u64);
	return NULL;
}

void alice(void)
{
	char in[10];
	fd = pair_up();
	for (int round = 0; round < 3; round++) {
		set = MUST(epoll_create1(EPOLL_CLOEXEC));
		watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, round);
		waiter = 0;
		pthread_t other = thread(wait_in, NULL);
		while (!waiter)
			sched_yield();
		settle_asleep(waiter);
		TRY(close(set));
		if (round == 1) {
			/* Another one, perhaps in its place. */
			other_set = MUST(epoll_create1(EPOLL_CLOEXEC));
			watch(other_set, EPOLL_CTL_ADD, fd, EPOLLIN, 10);
		}
		meet();
		pthread_join(other, NULL);
		if (round > 0)
			say_events("other", other_set, 10000);
		say_bytes("got", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
	}
	TRY(close(other_set));
	TRY(close(fd));
}

void bob(void)
{
	char in[1];
	fd = pair_up();
	for (int round = 0; round < 3; round++) {
		meet();
		TRY(send(fd, "0123456789", 10, 0));
	}
	TRY(recv(fd, in, 1, 0));
	close(fd);
}
