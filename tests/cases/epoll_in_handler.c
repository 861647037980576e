/* A signal handler asks, or waits in, the epoll set that its thread is changing: it is told of what is ready, and of nothing
 * else. */
#include "case.h"

static int set, timeout;
static _Atomic long asked, strange;

static void handler(int number)
{
	(void)number;
	struct epoll_event events[4];
	int n = epoll_wait(set, events, 1 + asked % 4, timeout);
	asked++;
	/* The pipe is ready all the time. */
	strange += n < 1;
	for (int i = 0; i < n; i++)
		strange += events[i].data.u64 != 7 && events[i].data.u64 != 8;
}

void alice(void)
{
	int pipes[2], fd = pair_up();
	set = MUST(epoll_create1(EPOLL_CLOEXEC));
	MUST(pipe(pipes));
	MUST(write(pipes[1], "p", 1));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 7);
	watch(set, EPOLL_CTL_ADD, pipes[0], EPOLLIN, 8);
	on_signal(SIGALRM, handler, SA_RESTART);
	struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
	struct epoll_event event = {EPOLLIN, {.u64 = 7}};
	for (timeout = 0; timeout >= -1; timeout--) {
		MUST(setitimer(ITIMER_REAL, &often, NULL));
		for (long start = now_ms(); now_ms() < start + 500;)
			for (int i = 0; i < 100; i++)
				MUST(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
		MUST(setitimer(ITIMER_REAL, &never, NULL));
		say("asked: %d, strange answers: %d", asked > 0, strange > 0);
	}
	meet();
	TRY(close(fd));
}

void bob(void)
{
	char in;
	int fd = pair_up();
	meet();
	TRY(recv(fd, &in, 1, 0));
}
