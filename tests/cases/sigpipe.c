/* Writing to a connection that the peer closed: RST, EPIPE, SIGPIPE and the ways to be spared. */
#include "case.h"

static volatile int pipes;

static void count(int number)
{
	(void)number;
	pipes++;
}

void alice(void)
{
	int fd = pair_up();
	on_signal(SIGPIPE, count, 0);
	meet();
	settle_fin(fd);
	char byte;
	TRY(recv(fd, &byte, 1, 0));
	/* The peer answers this with a reset. */
	TRY(send(fd, "x", 1, 0));
	settle_reset(fd);
	say("%d signals", pipes);
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	say("%d signals", pipes);
	TRY(send(fd, "x", 1, 0));
	say("%d signals", pipes);
	TRY(write(fd, "x", 1));
	say("%d signals", pipes);
	struct iovec part = {"x", 1};
	TRY(writev(fd, &part, 1));
	say("%d signals", pipes);
	on_signal(SIGPIPE, SIG_IGN, 0);
	TRY(write(fd, "x", 1));
	int error = -1;
	socklen_t size = sizeof error;
	TRY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	say("error %s", error ? errno_name(error) : "none");
	TRY(recv(fd, &byte, 1, 0));
	/* By default it kills. */
	pid_t child = MUST(fork());
	if (!child) {
		on_signal(SIGPIPE, SIG_DFL, 0);
		write(fd, "x", 1);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	say_status("child", status);
}

void bob(void)
{
	int fd = pair_up();
	TRY(close(fd));
	meet();
}
