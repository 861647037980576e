/* libc's daemon(): a fork inside libc, and /dev/null behind the standard descriptors, one of which was the connection. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up(), status;
	MUST(dup2(fd, 0));
	pid_t child = MUST(fork());
	if (!child) {
		MUST(daemon(1, 0));
		TRY(read(0, in, 1));
		TRY(write(0, "x", 1));
		TRY(recv(0, in, 1, 0));
		TRY(send(fd, "daemon", 6, 0));
		say_bytes("in", in, TRY(recv(fd, in, 6, MSG_WAITALL)));
		TRY(close(fd));
		/* The number is free for another connection. */
		close(0);
		fd = joined();
		trickle(fd);
		say("connection %d", fd);
		TRY(send(fd, "again", 5, 0));
		TRY(close(fd));
		post(0);
		_exit(0);
	}
	close(fd);
	close(0);
	waitpid(child, &status, 0);
	post(1);
	await(0);
	say_status("child", status);
}

void bob(void)
{
	int fd = pair_up();
	await(1);
	TRY(send(fd, "answer", 6, 0));
	say_rest(fd);
	close(fd);
	fd = joined();
	trickle(fd);
	say_rest(fd);
}
