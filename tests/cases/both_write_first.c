/* Two programs that both write 1 MiB, blocking, before they read: TCP's buffers let them, so must any other carrier. */
#include "case.h"

enum { SIZE = 1 << 20 };
static char data[SIZE];

static void both(void)
{
	int fd = pair_up();
	for (int round = 0; round < 3; round++) {
		fill(data, SIZE, round * 2 + is_alice, 0);
		/* The second time in small pieces, the third in one nonblocking go. */
		if (round == 1)
			for (int i = 0; i < SIZE; i += 1000)
				send_all(fd, data + i, SIZE - i < 1000 ? SIZE - i : 1000);
		else if (round == 0)
			TRY(send(fd, data, SIZE, 0));
		else
			/* However much one call takes: poll must find room for all of it. */
			for (int done = 0; done < SIZE;) {
				struct pollfd one = {fd, POLLOUT, 0};
				CHECK(poll(&one, 1, 10000) == 1);
				long sent = send(fd, data + done, SIZE - done, MSG_DONTWAIT);
				CHECK(sent > 0 || errno == EAGAIN);
				done += sent > 0 ? sent : 0;
			}
		meet();
		recv_all(fd, data, SIZE);
		say("all: %d", is_fill(data, SIZE, round * 2 + !is_alice, 0));
		meet();
	}
	TRY(close(fd));
}

void alice(void)
{
	both();
}

void bob(void)
{
	both();
}
