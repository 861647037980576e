/* A peer that is killed with kilobytes unread: a reset, as over TCP, by poll, by SO_ERROR (which takes it), or by recv. */
#include "case.h"

static char in[10], out[3000];

static void say_error(int fd)
{
	int error = -1;
	socklen_t size = sizeof error;
	MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	say("SO_ERROR: %s, %u bytes", errno_name(error), size);
}

void alice(void)
{
	int fds[2] = {pair_up(), pair_up()};
	for (int i = 0; i < 2; i++)
		for (int piece = 0; piece < 4; piece++)
			send_all(fds[i], out, sizeof out);
	post(0);
	for (int i = 0; i < 2; i++) {
		settle_reset(fds[i]);
		struct pollfd one = {fds[i], POLLIN, 0};
		TRY(poll(&one, 1, 1000));
		say_poll("poll", one.revents);
		if (i)
			say_error(fds[i]);
		TRY(recv(fds[i], in, sizeof in, 0));
		say_error(fds[i]);
		TRY(recv(fds[i], in, sizeof in, 0));
		close(fds[i]);
	}
}

void bob(void)
{
	pair_up();
	pair_up();
	await(0);
	kill(getpid(), SIGKILL);
}
