/* One thread spawns a program, which would inherit connections, while another closes them. */
#include "case.h"
#include <spawn.h>

enum { MANY = 8, ROUNDS = 40 };
static int fds[MANY];
static _Atomic int ready, stop;
extern char **environ;

/* Has the one that spawns stop in the middle, now and then. */
static void *hogs(void *unused)
{
	pin_to(0);
	while (!stop)
		;
	return unused;
}

static void *closes(void *delay)
{
	pin_to(1);
	ready++;
	while (ready < 2)
		;
	for (volatile long i = (long)delay; i > 0; i--)
		;
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	return NULL;
}

void alice(void)
{
	cpu_set_t all;
	MUST(sched_getaffinity(0, sizeof all, &all));
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < MANY; i++) {
			fds[i] = pair_up();
			MUST(fcntl(fds[i], F_SETFD, 0));
		}
		ready = stop = 0;
		pthread_t hog = thread(hogs, NULL);
		pthread_t closer = thread(closes, (void *)(round % 20 * 20000L));
		pin_to(0);
		ready++;
		while (ready < 2)
			;
		pid_t child;
		char *words[] = {"true", NULL};
		CHECK(posix_spawnp(&child, words[0], NULL, NULL, words, environ) == 0);
		stop = 1;
		waitpid(child, NULL, 0);
		pthread_join(closer, NULL);
		pthread_join(hog, NULL);
		MUST(sched_setaffinity(0, sizeof all, &all));
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
			while (recv(fds[i], in, sizeof in, 0) > 0)
				;
			MUST(close(fds[i]));
		}
		meet();
	}
	say("done");
}
