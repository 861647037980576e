/* A signal ends a receive (a splice; a peek that waits for more than is there) that has just begun to wait, while the connection goes back to TCP (stdio takes it). */
#include "case.h"

enum { ROUNDS = 120, WAYS = 3 };
static int fd, ends[2];
static _Atomic int tid, ended;

static void handler(int signal)
{
	(void)signal;
}

static void *reads(void *round)
{
	char in[10];
	tid = gettid();
	switch ((long)round % WAYS) {
	case 0:
		CHECK(recv(fd, in, 1, 0) == -1 && errno == EINTR);
		break;
	case 1:
		CHECK(splice(fd, NULL, ends[1], NULL, 10, 0) == -1 && errno == EINTR);
		break;
	case 2:
		CHECK(recv(fd, in, 10, MSG_PEEK | MSG_WAITALL) == 3);
	}
	ended = 1;
	return NULL;
}

void alice(void)
{
	int lost = 0;
	on_signal(SIGUSR1, handler, 0);
	MUST(pipe(ends));
	for (long i = 0; i < ROUNDS; i++) {
		fd = pair_up();
		meet();
		if (i % WAYS == 2)
			settle_readable(fd, 3);
		tid = ended = 0;
		pthread_t reader = thread(reads, (void *)i);
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
		if (i % WAYS == 2)
			send_all(other, "was", 3);
		meet();
		meet();
		MUST(close(other));
	}
}
