/* A timeout of more than 64 bits of nanoseconds never comes. */
#include "case.h"

static void handler(int signal)
{
	(void)signal;
}

void alice(void)
{
	pair_up();
	meet();
	meet();
}

void bob(void)
{
	char byte;
	int fd = pair_up();
	struct timeval huge = {18446744073709551ll, 615000};
	struct itimerval due = {{0, 0}, {0, 300000}};
	meet();
	on_signal(SIGALRM, handler, 0);
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &huge, sizeof huge));
	long start = now_ms();
	MUST(setitimer(ITIMER_REAL, &due, NULL));
	TRY(recv(fd, &byte, 1, 0));
	say_time("waited", start, 300);
	meet();
}
