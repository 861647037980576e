/* Two connections in two sets leave the ring while a thread asks each set: both threads come back. */
#include "case.h"

enum { ROUNDS = 10, GIVEN_UP = 9 };
static char in[16];
static int sets[2];
static _Atomic int begun, done;

static void *asks(void *set)
{
	struct epoll_event events[4];
	begun++;
	while (begun < 2)
		;
	epoll_wait(*(int *)set, events, 4, 0);
	done++;
	return NULL;
}

static void look_in_vain(int set, int times)
{
	struct epoll_event event;
	for (int i = 0; i < times; i++)
		CHECK(epoll_wait(set, &event, 1, 0) == 0);
}

static void one(int round)
{
	struct epoll_event events[4];
	int a = pair_up(), b = pair_up();
	for (int i = 0; i < 2; i++) {
		sets[i] = MUST(epoll_create1(EPOLL_CLOEXEC));
		watch(sets[i], EPOLL_CTL_ADD, a, EPOLLIN, 1);
	}
	for (int i = 1; i >= 0; i--)
		watch(sets[i], EPOLL_CTL_ADD, b, EPOLLIN, 2);
	/* So often that both are left to their doorbells; the kernel has its turn in every second look. */
	look_in_vain(sets[0], 1200);
	look_in_vain(sets[1], 1200 + round % 2);
	/* In each set the other one comes first. */
	meet();
	settle_readable(b, 4);
	CHECK(epoll_wait(sets[1], events, 4, 1000) == 1);
	meet();
	settle_readable(a, 4);
	CHECK(epoll_wait(sets[0], events, 4, 1000) == 2);
	MUST(send(a, "!", 1, MSG_OOB));
	MUST(send(b, "!", 1, MSG_OOB));
	MUST(recv(a, in, 4, 0));
	MUST(recv(b, in, 4, 0));
	begun = done = 0;
	pthread_t threads[2] = {thread(asks, &sets[0]), thread(asks, &sets[1])};
	for (int i = 0; i < 200 && done < 2; i++)
		nap_ms(10);
	if (done < 2) {
		say("not all are back after 2 s");
		post(GIVEN_UP);
		_exit(0);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		MUST(close(sets[i]));
	}
	MUST(close(a));
	MUST(close(b));
}

void alice(void)
{
	for (int i = 0; i < ROUNDS; i++)
		one(i);
	say("all are back");
}

void bob(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		int a = pair_up(), b = pair_up();
		meet();
		MUST(send(b, "abcd", 4, 0));
		meet();
		MUST(send(a, "abcd", 4, 0));
		while (recv(a, in, 1, 0) > 0 && !posted(GIVEN_UP))
			;
		if (posted(GIVEN_UP))
			_exit(0);
		MUST(close(a));
		MUST(close(b));
	}
}
