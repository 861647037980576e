/* A timer that is due about when the shim changes from a short sleep to a long one ends a receive as at any other time. */
#include "case.h"

static atomic_bool rung;

static void handler(int signal)
{
	(void)signal;
	rung = true;
}

void alice(void)
{
	static const int due_us[] = {50, 900, 950, 1000, 1050, 1100, 2000, 19900, 20000, 20100};
	int fd = pair_up();
	on_signal(SIGALRM, handler, 0);
	meet();
	for (unsigned i = 0; i < sizeof due_us / sizeof *due_us; i++) {
		int late = 0;
		for (int round = 0; round < 20; round++) {
			/* The second one is for a receive that has missed the first. */
			struct itimerval due = {{0, 200000}, {0, due_us[i]}}, none = {{0, 0}, {0, 0}};
			char byte;
			long start = now_ms();
			rung = false;
			MUST(setitimer(ITIMER_REAL, &due, NULL));
			if (rung) {
				/* This thread did not come to the receive in time. */
				round--;
				continue;
			}
			long n = recv(fd, &byte, 1, 0);
			CHECK(n == -1 && errno == EINTR);
			MUST(setitimer(ITIMER_REAL, &none, NULL));
			late += now_ms() - start > 190;
		}
		/* A loaded machine may take a thread's time between its look and its receive. */
		int excused = due_us[i] < 100 ? 4 : 1;
		say("%d us: %s", due_us[i], late > excused ? "late" : "in time");
	}
	meet();
}

void bob(void)
{
	int fd = pair_up();
	meet();
	meet();
	TRY(close(fd));
}
