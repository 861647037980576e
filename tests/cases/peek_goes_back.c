/* A peek that waits for all, while its peer goes back to TCP (splice) at any moment of that. */
#include "case.h"

enum { ROUNDS = 200, ALL = 40, GO = 1 };

void alice(void)
{
	char in[ALL];
	int fd = pair_up(), few = 0, wrong = 0, on = 1;
	struct timeval limit = {2, 0};
	MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
	for (int round = 1; round <= ROUNDS; round++) {
		settle_readable(fd, 8);
		give(GO, round);
		few += recv(fd, in, ALL, MSG_PEEK | MSG_WAITALL) != ALL;
		recv_all(fd, in, ALL);
		wrong += !is_fill(in, ALL, 1, (size_t)ALL * (round - 1));
		send_all(fd, "!", 1);
	}
	say("few %d wrong %d", few, wrong);
}

void bob(void)
{
	char out[ALL];
	int fd = pair_up(), ends[2], on = 1;
	MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
	MUST(pipe(ends));
	for (int round = 1; round <= ROUNDS; round++) {
		fill(out, ALL, 1, (size_t)ALL * (round - 1));
		send_all(fd, out, 8);
		CHECK(write(ends[1], out + 8, 20) == 20);
		while (take(GO) != round)
			;
		for (volatile int i = round % 50 * 1000; i > 0; i--)
			;
		CHECK(splice(ends[0], NULL, fd, NULL, 20, 0) == 20);
		send_all(fd, out + 28, 12);
		recv_all(fd, out, 1);
	}
}
