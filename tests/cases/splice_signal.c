/* A splice that waits for room in its pipe goes on after a handler with SA_RESTART. */
#include "case.h"

static volatile int handled;

static void handler(int signal)
{
	(void)signal;
	handled++;
}

void alice(void)
{
	int fd = pair_up();
	meet();
	MUST(send(fd, "0123456789", 10, 0));
	meet();
}

void bob(void)
{
	static char all[65536];
	int pipes[2], fd = pair_up();
	MUST(pipe(pipes));
	MUST(write(pipes[1], all, sizeof all));
	meet();
	settle_readable(fd, 10);
	on_signal(SIGALRM, handler, SA_RESTART);
	pid_t child = MUST(fork());
	if (child == 0) {
		nap_ms(500);
		MUST(read(pipes[0], all, sizeof all));
		_exit(0);
	}
	struct itimerval due = {{0, 0}, {0, 100000}};
	MUST(setitimer(ITIMER_REAL, &due, NULL));
	TRY(splice(fd, NULL, pipes[1], NULL, 100, 0));
	say("handled %d", handled);
	waitpid(child, NULL, 0);
	meet();
}
