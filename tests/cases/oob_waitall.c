/* A receive that waits for all stops at the mark of urgent data. */
#include "case.h"

void alice(void)
{
	int fd = pair_up();
	char in[30];
	meet();
	long got = TRY(recv(fd, in, 20, MSG_WAITALL));
	say_bytes("before", in, got);
	got = TRY(recv(fd, in, 10, MSG_WAITALL));
	say_bytes("behind", in, got);
}

void bob(void)
{
	int fd = pair_up();
	MUST(send(fd, "0123456789", 10, 0));
	MUST(send(fd, "!", 1, MSG_OOB));
	MUST(send(fd, "abcdefghij", 10, 0));
	meet();
	nap_ms(300);
}
