/* A signal ends a receive that has just begun to wait, while the connection goes back to TCP (stdio takes it). */
#include "case.h"

enum { ROUNDS = 80 };
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
	int lost = 0;
	on_signal(SIGUSR1, handler, 0);
	for (int i = 0; i < ROUNDS; i++) {
		fd = pair_up();
		tid = ended = 0;
		pthread_t reader = thread(reads, NULL);
		while (!tid)
			;
		settle_asleep(tid);
		pthread_kill(reader, SIGUSR1);
		FILE *file = fdopen(fd, "r");
		for (long start = now_ms(); !ended && now_ms() - start < 400;)
			sched_yield();
		lost += !ended;
		for (; !ended; nap_ms(20))
			pthread_kill(reader, SIGUSR1);
		pthread_join(reader, NULL);
		MUST(fclose(file));
		meet();
	}
	say("%s", lost > 1 ? "lost" : "in time");
}

void bob(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		int other = pair_up();
		meet();
		MUST(close(other));
	}
}
