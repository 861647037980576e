/* close_range with CLOSE_RANGE_UNSHARE, alone and with CLOEXEC: the process goes on with new connections. */
#include "case.h"

static char in[100];

static void both(unsigned flags)
{
	int fd = pair_up();
	meet();
	TRY(close_range(fd, ~0U, flags));
	say("open: %d", fcntl(fd, F_GETFD));
	if (flags & CLOSE_RANGE_CLOEXEC) {
		TRY(send(fd, "still open", 10, 0));
		TRY(recv(fd, in, 10, MSG_WAITALL));
		close(fd);
	}
	meet();
	int next = pair_up();
	say("same number %d", next == fd);
	TRY(send(next, "0123456789", 10, 0));
	TRY(recv(next, in, 10, MSG_WAITALL));
	close(next);
}

void alice(void)
{
	both(CLOSE_RANGE_UNSHARE);
	both(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC);
}

void bob(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		meet();
		if (i)
			TRY(send(fd, "0123456789", 10, 0));
		say_rest(fd);
		close(fd);
		meet();
		fd = pair_up();
		TRY(send(fd, "0123456789", 10, 0));
		say_rest(fd);
		close(fd);
	}
}
