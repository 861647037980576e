/* As Java closes a socket that another thread reads: dup2 of something else over it, then a signal to the thread. */
#include "case.h"

enum { ROUNDS = 150 };
static int fd;
static _Atomic int tid, ended;

static void handler(int signal)
{
	(void)signal;
}

static void *reads(void *unused)
{
	char byte;
	(void)unused;
	tid = gettid();
	CHECK(recv(fd, &byte, 1, 0) == -1 && errno == EINTR);
	ended = 1;
	return NULL;
}

void alice(void)
{
	int other[2], lost = 0;
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, other));
	on_signal(SIGRTMAX - 2, handler, 0);
	for (int i = 0; i < ROUNDS; i++) {
		fd = pair_up();
		tid = ended = 0;
		pthread_t reader = thread(reads, NULL);
		while (!tid)
			nap_ms(1);
		/* It has been asleep for long. */
		nap_ms(22);
		settle_asleep(tid);
		MUST(dup2(other[0], fd));
		pthread_kill(reader, SIGRTMAX - 2);
		for (long start = now_ms(); !ended && now_ms() - start < 400;)
			sched_yield();
		lost += !ended;
		for (; !ended; nap_ms(20))
			pthread_kill(reader, SIGRTMAX - 2);
		pthread_join(reader, NULL);
		MUST(close(fd));
		meet();
	}
	say("%s", lost > 1 ? "lost" : "in time");
}

void bob(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		int fd = pair_up();
		meet();
		MUST(close(fd));
	}
}
