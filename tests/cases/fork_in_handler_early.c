/* A handler forks while its thread is in a receive of a connection that has not moved yet, and the child ends at once: the
 * connection moves. */
#include "case.h"

static void handler(int signal)
{
	(void)signal;
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
}

void alice(void)
{
	int fd = joined();
	char b;
	meet();
	nap_ms(200);
	MUST(send(fd, "x", 1, 0));
	MUST(recv(fd, &b, 1, 0));
	warm(fd);
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = joined();
	char b;
	on_signal(SIGALRM, handler, SA_RESTART);
	struct itimerval due = {{0, 0}, {0, 50000}};
	meet();
	MUST(setitimer(ITIMER_REAL, &due, NULL));
	TRY(recv(fd, &b, 1, 0));
	MUST(send(fd, "y", 1, 0));
	warm(fd);
	meet();
	TRY(close(fd));
}
