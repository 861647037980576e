/* Writes and reads that no preloaded library can see (a system call made inline), between ordinary ones at rest. */
#include "case.h"

static long raw(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static char in[100];

void alice(void)
{
	int fd = pair_up();
	for (int i = 0; i < 5; i++) {
		TRY(send(fd, "ordinary", 8, 0));
		TRY(recv(fd, in, 1, MSG_WAITALL));
		say("raw %ld", raw(SYS_write, fd, (long)"unseen", 6));
		TRY(recv(fd, in, 1, MSG_WAITALL));
	}
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 0; i < 5; i++) {
		say_bytes("in", in, TRY(recv(fd, in, 8, MSG_WAITALL)));
		send_all(fd, "1", 1);
		say_bytes("in", in, TRY(recv(fd, in, 6, MSG_WAITALL)));
		send_all(fd, "2", 1);
	}
	TRY(recv(fd, in, 1, 0));
}
