/* A timer ends a receive that waits for all, while bytes keep coming. */
#include "case.h"

enum { ROUNDS = 60 };
static char in[4000000];

static void handler(int signal)
{
	(void)signal;
}

static long now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

void alice(void)
{
	int fd = pair_up();
	meet();
	for (long next = now_us(); !posted(1); next += 30) {
		send(fd, "x", 1, MSG_NOSIGNAL);
		while (now_us() < next)
			;
	}
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up(), late = 0;
	/* The second one is for a receive that has missed the first. */
	struct itimerval due = {{0, 200000}, {0, 20000}}, none = {{0, 0}, {0, 0}};
	on_signal(SIGALRM, handler, 0);
	meet();
	for (int i = 0; i < ROUNDS; i++) {
		long start = now_ms();
		MUST(setitimer(ITIMER_REAL, &due, NULL));
		recv(fd, in, sizeof in, MSG_WAITALL);
		MUST(setitimer(ITIMER_REAL, &none, NULL));
		late += now_ms() - start > 60;
	}
	say("%s", late > 2 ? "late" : "in time");
	post(1);
	meet();
	while (recv(fd, in, sizeof in, 0) > 0)
		;
}
