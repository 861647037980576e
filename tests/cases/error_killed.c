/* The error that a killed peer leaves is met by calls that come to send, not by those whose input has nothing for them.
 */
#include "case.h"

static int question(int fd)
{
	int error = -1;
	socklen_t size = sizeof error;
	MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	return error;
}

void alice(void)
{
	for (int i = 0; i < 6; i++) {
		int fd = pair_up(), status;
		pid_t child = MUST(fork());
		if (!child) {
			for (;;)
				pause();
		}
		close(fd);
		meet();
		meet();
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		meet();
		meet();
	}
}

void bob(void)
{
	int file = MUST(memfd_create("none", 0)), pipes[2], empty[2];
	MUST(pipe(empty));
	close(empty[1]);
	MUST(pipe2(pipes, O_NONBLOCK));
	for (int i = 0; i < 6; i++) {
		int fd = pair_up(), on = 1;
		off_t at = 0;
		MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
		meet();
		send_all(fd, "x", 1);
		meet();
		meet();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		do {
			poll(&p, 1, 1000);
		} while (!(p.revents & POLLERR));
		say_poll("over", p.revents);
		if (i == 0)
			TRY(sendfile(fd, 999, NULL, 5));
		if (i == 1)
			TRY(sendfile(fd, file, &at, 5));
		if (i == 2)
			TRY(splice(pipes[0], NULL, fd, NULL, 5, SPLICE_F_NONBLOCK));
		if (i == 3)
			TRY(splice(empty[0], NULL, fd, NULL, 5, 0));
		if (i == 4)
			TRY(sendfile(fd, file, &at, 0));
		say("error %s", errno_name(question(fd)));
		close(fd);
		meet();
	}
}
