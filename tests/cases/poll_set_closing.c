/* One thread watches a set from outside, while another closes its members. */
#include "case.h"

enum { MANY = 12, ROUNDS = 12 };
static int fds[MANY], set;
static _Atomic int ready;
static void *closes(void *order)
{
	ready++;
	while (ready < 2)
		;
	for (volatile int i = 0; i < (long)order * 6000; i++)
		;
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	return NULL;
}
void alice(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		set = MUST(epoll_create1(EPOLL_CLOEXEC));
		for (int i = 0; i < MANY; i++) {
			fds[i] = pair_up();
			watch(set, EPOLL_CTL_ADD, fds[i], EPOLLIN, i);
		}
		ready = 0;
		pthread_t other = thread(closes, (void *)(long)(round % 12));
		ready++;
		while (ready < 2)
			;
		struct pollfd p = {set, POLLIN, 0};
		poll(&p, 1, 0);
		pthread_join(other, NULL);
		MUST(close(set));
		meet();
	}
	say("done");
}
void bob(void)
{
	char in[8];
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < MANY; i++)
			fds[i] = pair_up();
		for (int i = 0; i < MANY; i++) {
			while (recv(fds[i], in, 8, 0) > 0)
				;
			close(fds[i]);
		}
		meet();
	}
	say("done");
}
