/* A signal handler that uses the very socket its thread is busy with, and one that uses another. */
#include "case.h"

static int fd, other;
static volatile int rounds;

static void handler(int number)
{
	(void)number;
	int error = errno;
	char byte;
	int there;
	ioctl(fd, FIONREAD, &there);
	recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	struct pollfd one = {fd, POLLIN | POLLOUT, 0};
	poll(&one, 1, 0);
	if (send(other, "h", 1, MSG_DONTWAIT) == 1)
		rounds++;
	errno = error;
}

void alice(void)
{
	char out[1000], in[1000];
	fd = pair_up();
	other = pair_up();
	on_signal(SIGALRM, handler, SA_RESTART);
	struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	MUST(setitimer(ITIMER_REAL, &often, NULL));
	for (int i = 0; i < 5000 || rounds < 50; i++) {
		fill(out, sizeof out, 1, (size_t)i * sizeof out);
		send_all(fd, out, sizeof out);
		recv_all(fd, in, sizeof in);
		CHECK(!memcmp(in, out, sizeof in));
	}
	MUST(setitimer(ITIMER_REAL, &never, NULL));
	shutdown(fd, SHUT_WR);
	give(0, rounds);
	shutdown(other, SHUT_WR);
	say("done");
	TRY(recv(other, in, 1, 0));
}

void bob(void)
{
	char in[1000];
	fd = pair_up();
	other = pair_up();
	long got, sum = 0;
	while ((got = recv(fd, in, sizeof in, 0)) > 0)
		send_all(fd, in, got);
	while ((got = recv(other, in, sizeof in, 0)) > 0)
		sum += got;
	say("all signs: %d", sum == take(0));
}
