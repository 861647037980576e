/* SCM_RIGHTS: a moved connection handed to another process, with the shim and without it; the giver keeps or closes. */
#include "case.h"

static char in[100];

static void use(int fd)
{
	say_bytes("unread", in, TRY(recv(fd, in, 15, MSG_WAITALL)));
	TRY(send(fd, "receiver", 8, 0));
	say_bytes("then", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
}

/* The receiver, with or without the shim. */
void again(int from)
{
	int fd = take_in(from);
	post(10);
	use(fd);
	close(fd);
	TRY(recv(fd, in, 1, 0));
}

void alice(void)
{
	for (int round = 0; round < 3; round++) {
		int pairs[2], status;
		MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs));
		int fd = pair_up();
		meet();
		settle_readable(fd, 20);
		TRY(recv(fd, in, 5, 0));
		TRY(send(fd, "giver", 5, 0));
		if (round < 2) {
			pid_t child = MUST(fork());
			if (!child)
				exec_again(pairs[1], round);
			close(pairs[1]);
			hand_out(pairs[0], fd);
			if (round)
				close(fd);
			waitpid(child, &status, 0);
			say_status("child", status);
			if (!round) {
				/* Kept: still usable here. */
				TRY(send(fd, "giver", 5, 0));
				TRY(recv(fd, in, 1, MSG_DONTWAIT));
				close(fd);
			}
		} else {
			/* To itself: a second number for one endpoint. */
			hand_out(pairs[0], fd);
			close(fd);
			fd = take_in(pairs[1]);
			use(fd);
			TRY(send(fd, "giver", 5, 0));
			close(fd);
			close(pairs[1]);
		}
		close(pairs[0]);
	}
}

void bob(void)
{
	for (int round = 0; round < 3; round++) {
		int fd = pair_up();
		TRY(send(fd, "0123456789abcdefghij", 20, 0));
		meet();
		say_bytes("in", in, TRY(recv(fd, in, 13, MSG_WAITALL)));
		TRY(send(fd, "0123456789", 10, 0));
		say_rest(fd);
		close(fd);
	}
}
