/* An error behind part of a receive, and calls that send from a file or a pipe. */
#include "case.h"
static char in[100];

static int question(int fd)
{
	int error = -1;
	socklen_t size = sizeof error;
	MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	return error;
}

static int broken(void)
{
	int fd = pair_up();
	send_all(fd, "unread", 6);
	meet();
	meet();
	settle_reset(fd);
	return fd;
}

void alice(void)
{
	int file = MUST(memfd_create("none", 0)), pipes[2], empty[2];
	MUST(pipe(empty));
	close(empty[1]);
	MUST(pipe2(pipes, O_NONBLOCK));
	for (int i = 0; i < 6; i++) {
		int fd = broken();
		off_t at = 0;
		say_bytes("part", in, TRY(recv(fd, in, 20, MSG_WAITALL)));
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
		if (i == 5)
			TRY(splice(file, NULL, fd, NULL, 5, 0));
		say("error %s", errno_name(question(fd)));
		close(fd);
	}
}

void bob(void)
{
	for (int i = 0; i < 6; i++) {
		int fd = pair_up();
		send_all(fd, "0123456789", 10);
		settle_readable(fd, 6);
		meet();
		close(fd);
		meet();
	}
}
