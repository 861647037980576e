/* exec with the socket kept, into an image with the shim and into one without; with bytes unread and bytes on the way. */
#include "case.h"

static char in[100];

void again(int fd)
{
	say_bytes("unread", in, TRY(recv(fd, in, 15, MSG_WAITALL)));
	TRY(send(fd, "from the new image", 18, 0));
	say_bytes("then", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
	TRY(recv(fd, in, 1, 0));
	TRY(send(fd, "last", 4, 0));
	TRY(close(fd));
}

void alice(void)
{
	for (int round = 0; round < 3; round++) {
		int fd = pair_up(), status;
		meet();
		settle_readable(fd, 20);
		TRY(recv(fd, in, 5, 0));
		TRY(send(fd, "from the old image", 18, 0));
		if (round < 2) {
			pid_t child = MUST(fork());
			if (!child)
				exec_again(fd, round);
			close(fd);
			meet();
			waitpid(child, &status, 0);
			say_status("child", status);
		} else {
			meet();
			exec_again(fd, false);
		}
	}
}

void bob(void)
{
	for (int round = 0; round < 3; round++) {
		int fd = pair_up();
		TRY(send(fd, "0123456789abcdefghij", 20, 0));
		meet();
		meet();
		say_bytes("in", in, TRY(recv(fd, in, 36, MSG_WAITALL)));
		TRY(send(fd, "0123456789", 10, 0));
		TRY(shutdown(fd, SHUT_WR));
		say_rest(fd);
		close(fd);
	}
}
