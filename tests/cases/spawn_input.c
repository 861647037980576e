/* A child reads from the socket as its input, with and without the shim, with bytes already there. */
#include "case.h"

static void run(const char *what, int fd, bool bare)
{
	int status;
	pid_t child = MUST(fork());
	if (!child) {
		dup2(fd, 0);
		dup2(fd, 1);
		if (bare)
			unsetenv("LD_PRELOAD");
		execl("/usr/bin/head", "head", "-c", "10", NULL);
		_exit(98);
	}
	waitpid(child, &status, 0);
	say_status(what, status);
}

void alice(void)
{
	char in[100];
	int fd = pair_up();
	meet();
	settle_readable(fd, 10);
	run("there already", fd, false);
	meet();
	run("comes later", fd, false);
	TRY(send(fd, "mine", 4, 0));
	close(fd);

	fd = pair_up();
	meet();
	settle_readable(fd, 10);
	run("bare, there already", fd, true);
	meet();
	run("bare, comes later", fd, true);
	TRY(send(fd, "mine", 4, 0));
	say_bytes("in", in, TRY(recv(fd, in, 3, MSG_WAITALL)));
	close(fd);
}

void bob(void)
{
	char in[100];
	for (int round = 0; round < 2; round++) {
		int fd = pair_up();
		TRY(send(fd, "0123456789", 10, 0));
		meet();
		/* The child has nothing else to read: only these ten. */
		say_bytes("echo", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
		meet();
		nap_ms(30);
		TRY(send(fd, "abcdefghij", 10, 0));
		say_bytes("echo", in, TRY(recv(fd, in, 14, MSG_WAITALL)));
		if (round)
			TRY(send(fd, "bye", 3, MSG_NOSIGNAL));
		close(fd);
	}
}
