/* A peer that is killed with kilobytes unread: a reset, as over TCP, whoever notices it first. */
#include "case.h"

static char in[10], out[3000];

void alice(void)
{
	int fd = pair_up();
	for (int i = 0; i < 4; i++)
		send_all(fd, out, sizeof out);
	post(0);
	settle_reset(fd);
	struct pollfd one = {fd, POLLIN, 0};
	TRY(poll(&one, 1, 1000));
	say_poll("poll", one.revents);
	TRY(recv(fd, in, sizeof in, 0));
	TRY(recv(fd, in, sizeof in, 0));
	close(fd);
}

void bob(void)
{
	pair_up();
	await(0);
	kill(getpid(), SIGKILL);
}
