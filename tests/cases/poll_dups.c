/* poll and select of two dups of one socket, whose bytes come while the call waits: both are told. */
#include "case.h"

enum { ROUNDS = 600 };

static void spin_us(long us)
{
	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < us * 1000);
}

void alice(void)
{
	int fd = pair_up(), copy = MUST(dup(fd)), halves = 0;
	char in;
	for (int i = 1; i <= ROUNDS; i++) {
		int found;
		if (i % 2) {
			struct pollfd both[2] = {{fd, POLLIN, 0}, {copy, POLLIN, 0}};
			give(1, i);
			found = MUST(poll(both, 2, 10000));
		} else {
			fd_set set;
			FD_ZERO(&set);
			FD_SET(fd, &set);
			FD_SET(copy, &set);
			give(1, i);
			found = MUST(select(copy + 1, &set, NULL, NULL, NULL));
		}
		halves += found == 1;
		CHECK(recv(fd, &in, 1, 0) == 1);
		give(2, i);
	}
	/* The kernel, too, looks at one after the other, when it does not sleep. */
	say("one only: %s", halves > 3 ? "often" : "hardly ever");
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 1; i <= ROUNDS; i++) {
		while (take(1) < i)
			;
		spin_us(3 + i % 40);
		CHECK(send(fd, "x", 1, 0) == 1);
		while (take(2) < i)
			;
	}
}
