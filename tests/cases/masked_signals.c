/* ppoll, pselect, epoll_pwait with a mask: a pending signal is delivered, once, inside the call. */
#include "case.h"

static volatile int caught;
static char in[100];

static void handler(int number)
{
	(void)number;
	caught++;
}

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(0));
	sigset_t block, open, old;
	sigemptyset(&open);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	on_signal(SIGUSR1, handler, SA_RESTART);
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	struct pollfd one = {fd, POLLIN, 0};
	struct epoll_event event;
	struct timespec time = {20, 0};
	fd_set r;
	FD_ZERO(&r);
	MUST(pthread_sigmask(SIG_BLOCK, &block, &old));
	for (int data = 0; data < 2; data++) {
		if (data) {
			meet();
			settle_readable(fd, 10);
		}
		say("data %d", data);
#define STEP(call)                                                                                                     \
	raise(SIGUSR1);                                                                                                \
	caught = 0;                                                                                                    \
	FD_SET(fd, &r);                                                                                                \
	TRY(call);                                                                                                     \
	say("caught %d", caught);                                                                                      \
	if (!caught)                                                                                                   \
		sigsuspend(&open);                                                                                     \
	say("caught %d", caught)
		STEP(ppoll(&one, 1, &time, &open));
		STEP(pselect(fd + 1, &r, NULL, NULL, &time, &open));
		STEP(epoll_pwait(set, &event, 1, 20000, &open));
		STEP(epoll_pwait2(set, &event, 1, &time, &open));
		STEP(poll(&one, 1, 10));
		STEP(epoll_wait(set, &event, 1, 10));
	}
	recv(fd, in, 10, 0);
	/* A signal that comes while it sleeps. */
	for (int i = 0; i < 3; i++) {
		meet();
		FD_SET(fd, &r);
		caught = 0;
		if (i == 0)
			TRY(ppoll(&one, 1, NULL, &open));
		else if (i == 1)
			TRY(pselect(fd + 1, &r, NULL, NULL, NULL, &open));
		else
			TRY(epoll_pwait(set, &event, 1, -1, &open));
		say("caught %d", caught);
		sigset_t now;
		pthread_sigmask(SIG_SETMASK, NULL, &now);
		say("blocked again %d", sigismember(&now, SIGUSR1));
	}
	meet();
}

void bob(void)
{
	int fd = pair_up();
	meet();
	send_all(fd, "0123456789", 10);
	for (int i = 0; i < 3; i++) {
		meet();
		settle_asleep(peer_pid());
		MUST(kill(peer_pid(), SIGUSR1));
	}
	meet();
}
