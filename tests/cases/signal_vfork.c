/* A signal that is sent to a process of several threads while the first cannot take it yet, since it waits for a vfork child: it is
 * the first thread's all the same, not that of one whose receive, or wait in poll or epoll, on a moved connection ends meanwhile. */
#include "case.h"

enum { ROUNDS = 12 };
static int fd, first;

/* By receive, poll, epoll in turns. */
static void *waits(void *unused)
{
	char byte;
	(void)unused;
	give(0, gettid());
	int set = MUST(epoll_create1(0));
	struct epoll_event event = {.events = EPOLLIN};
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
	for (int i = 0; i < ROUNDS; i++) {
		struct pollfd poll_in = {.fd = fd, .events = POLLIN};
		long waited = i % 3 == 1 ? poll(&poll_in, 1, -1) : i % 3 == 2 ? epoll_wait(set, &event, 1, -1) : 1;
		long got = recv(fd, &byte, 1, 0);
		if (waited != 1 || got != 1)
			say("%d: waited %ld, got %ld", i, waited, got);
	}
	return NULL;
}

static void *kills(void *unused)
{
	(void)unused;
	nap_ms(5);
	kill(getpid(), SIGUSR1);
	nap_ms(5);
	give(1, take(1) + 1);
	return NULL;
}

void alice(void)
{
	fd = pair_up();
	on_signal(SIGUSR1, note_taker, 0);
	pthread_t other = thread(waits, NULL);
	while (!take(0))
		nap_ms(1);
	for (int i = 0; i < ROUNDS; i++) {
		settle_asleep(take(0));
		taker = 0;
		pthread_t killer = thread(kills, NULL);
		pid_t child = vfork();
		if (child == 0) {
			nap_ms(40);
			_exit(0);
		}
		MUST(waitpid(child, NULL, 0));
		pthread_join(killer, NULL);
		first += taker == getpid();
	}
	say("the first thread took %d", first);
	pthread_join(other, NULL);
	meet();
}

void bob(void)
{
	char byte = 1;
	int own = pair_up();
	for (int i = 0; i < ROUNDS; i++) {
		while (take(1) <= i)
			nap_ms(1);
		MUST(send(own, &byte, 1, MSG_NOSIGNAL));
	}
	meet();
}
