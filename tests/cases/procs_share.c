/* A moved connection after fork: both processes use it; the end comes only when the last has closed. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up(), status;
	pid_t child = MUST(fork());
	if (!child) {
		await(0);
		TRY(send(fd, "from the child", 14, 0));
		say_bytes("child", in, TRY(recv(fd, in, 12, MSG_WAITALL)));
		TRY(close(fd));
		_exit(7);
	}
	TRY(send(fd, "from the parent", 15, 0));
	say_bytes("parent", in, TRY(recv(fd, in, 13, MSG_WAITALL)));
	post(0);
	waitpid(child, &status, 0);
	say_status("child", status);
	/* Still open here. */
	meet();
	TRY(recv(fd, in, 1, MSG_DONTWAIT));
	TRY(send(fd, "parent again", 12, 0));
	/* A child that only ends: no FIN. */
	child = MUST(fork());
	if (!child)
		_exit(8);
	waitpid(child, &status, 0);
	say_status("child", status);
	TRY(send(fd, "and again", 9, 0));
	/* A child takes over alone. */
	child = MUST(fork());
	if (!child) {
		await(1);
		TRY(send(fd, "alone", 5, 0));
		say_bytes("alone", in, TRY(recv(fd, in, 4, MSG_WAITALL)));
		_exit(9);
	}
	TRY(close(fd));
	post(1);
	waitpid(child, &status, 0);
	say_status("child", status);
}

void bob(void)
{
	int fd = pair_up();
	say_bytes("in", in, TRY(recv(fd, in, 15, MSG_WAITALL)));
	TRY(send(fd, "to the parent", 13, 0));
	say_bytes("in", in, TRY(recv(fd, in, 14, MSG_WAITALL)));
	TRY(send(fd, "to the child", 12, 0));
	meet();
	say_bytes("in", in, TRY(recv(fd, in, 12, MSG_WAITALL)));
	say_bytes("in", in, TRY(recv(fd, in, 9, MSG_WAITALL)));
	say_bytes("in", in, TRY(recv(fd, in, 5, MSG_WAITALL)));
	TRY(send(fd, "last", 4, 0));
	TRY(recv(fd, in, 1, 0));
}
