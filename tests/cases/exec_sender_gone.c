/* The sender writes and ends; only then does the reader exec another image: what is unread must still be there. */
#include "case.h"

static char in[100];

void again(int fd)
{
	say_rest(fd);
}

void alice(void)
{
	for (int bare = 0; bare < 2; bare++) {
		int fd = pair_up(), status;
		meet();
		settle_fin(fd);
		TRY(recv(fd, in, 5, 0));
		pid_t child = MUST(fork());
		if (!child)
			exec_again(fd, bare);
		close(fd);
		waitpid(child, &status, 0);
		say_status("child", status);
	}
}

void bob(void)
{
	for (int bare = 0; bare < 2; bare++) {
		int fd = pair_up();
		TRY(send(fd, "0123456789abcdefghij", 20, 0));
		TRY(close(fd));
		meet();
	}
}
