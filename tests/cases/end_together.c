/* Two processes let go of a connection at the same moment, one by its exit, one by a close: one of them is the last, and what
 * they sent is there for a reader without the library, too. */
#include "case.h"

enum { ROUNDS = 60 };
static char in[100];

void again(int fd)
{
	exit(recv(fd, in, 20, MSG_WAITALL) == 20 && recv(fd, in, 1, 0) == 0 ? 0 : 1);
}

void alice(void)
{
	int cut = 0;
	for (int round = 0; round < ROUNDS; round++) {
		int fd = pair_up(), status;
		meet();
		settle_fin(fd);
		pid_t child = MUST(fork());
		if (!child)
			exec_again(fd, true);
		MUST(close(fd));
		MUST(waitpid(child, &status, 0));
		cut += status != 0;
	}
	say("cut %d", cut);
}

void bob(void)
{
	static _Atomic int *ready;
	ready = mmap(NULL, sizeof *ready, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(ready != MAP_FAILED);
	for (int round = 0; round < ROUNDS; round++) {
		int fd = pair_up(), status;
		*ready = 0;
		pid_t child = MUST(fork());
		if (!child) {
			MUST(send(fd, "0123456789abcdefghij", 20, 0));
			++*ready;
			while (*ready < 2)
				;
			_exit(0);
		}
		++*ready;
		while (*ready < 2)
			;
		for (volatile int i = round % 12 * 300; i > 0; i--)
			;
		MUST(close(fd));
		MUST(waitpid(child, &status, 0));
		meet();
	}
}
