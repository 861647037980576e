/* A writer killed in full flow: the reader gets every byte that a send had accepted, then the end. */
#include "case.h"

static char data[1 << 16];

void alice(void)
{
	for (int round = 0; round < 5; round++) {
		int fd = pair_up();
		size_t done = 0;
		long got;
		while ((got = recv(fd, data, 1 + (done * 31) % sizeof data, 0)) > 0) {
			CHECK(is_fill(data, got, round, done));
			done += got;
			if (done > (1u << 20) * (round + 1))
				post(round);
		}
		say("then %s, none lost %d", got ? errno_name(errno) : "end", done >= (size_t)take(round));
		close(fd);
		meet();
	}
}

void bob(void)
{
	for (int round = 0; round < 5; round++) {
		int status;
		pid_t child = MUST(fork());
		if (!child) {
			int fd = pair_up();
			for (size_t done = 0;;) {
				size_t size = 1 + (done * 7) % (round % 2 ? 200 : sizeof data);
				fill(data, size, round, done);
				done += MUST(send(fd, data, size, 0));
				give(round, done);
			}
		}
		await(round);
		nap_ms(round * 3);
		MUST(kill(child, SIGKILL));
		waitpid(child, &status, 0);
		say_status("writer", status);
		meet();
	}
}
