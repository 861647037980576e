/* SO_PEEK_OFF, where the kernel has it for TCP: peeks go on where the last ended. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up();
	TRY(send(fd, "0123456789", 10, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	int fd = pair_up(), from = 0;
	socklen_t size = sizeof from;
	TRY(setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &from, sizeof from));
	meet();
	settle_readable(fd, 10);
	say_bytes("peek", in, TRY(recv(fd, in, 3, MSG_PEEK)));
	say_bytes("peek", in, TRY(recv(fd, in, 3, MSG_PEEK)));
	from = -5;
	TRY(getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &from, &size));
	say("offset %d", from);
	say_bytes("take", in, TRY(recv(fd, in, 4, 0)));
	say_bytes("peek", in, TRY(recv(fd, in, 3, MSG_PEEK)));
	say_bytes("rest", in, TRY(recv(fd, in, 100, 0)));
}
