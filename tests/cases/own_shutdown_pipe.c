/* Writing after one's own shutdown: EPIPE and SIGPIPE at once. */
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
	TRY(send(fd, "last", 4, 0));
	TRY(shutdown(fd, SHUT_WR));
	TRY(shutdown(fd, SHUT_WR));
	TRY(send(fd, "x", 1, 0));
	say("%d signals", pipes);
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(write(fd, "x", 1));
	TRY(write(fd, "x", 0));
	say("%d signals", pipes);
	struct pollfd one = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
	TRY(poll(&one, 1, 0));
	say_poll("poll", one.revents);
	meet();
	char in[100];
	say_bytes("still reads", in, TRY(recv(fd, in, 6, MSG_WAITALL)));
	settle_fin(fd);
	TRY(recv(fd, in, 1, 0));
	TRY(poll(&one, 1, 0));
	say_poll("poll", one.revents);
	TRY(shutdown(fd, SHUT_RDWR));
}

void bob(void)
{
	int fd = pair_up();
	char in[100];
	say_bytes("in", in, TRY(recv(fd, in, 4, MSG_WAITALL)));
	TRY(recv(fd, in, 4, 0));
	meet();
	TRY(send(fd, "answer", 6, 0));
	TRY(close(fd));
}
