/* MSG_TRUNC on a TCP socket throws bytes away. */
#include "case.h"

static char in[4096];

void alice(void)
{
	int fd = pair_up();
	char data[2000];
	fill(data, sizeof data, 1, 0);
	send_all(fd, data, 2000);
	meet();
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	settle_readable(fd, 2000);
	TRY(recv(fd, NULL, 100, MSG_TRUNC));
	say_bytes("untouched", in, TRY(recv(fd, in, 100, MSG_TRUNC)));
	say_bytes("peek", in, TRY(recv(fd, in, 50, MSG_TRUNC | MSG_PEEK)));
	say_bytes("take", in, TRY(recv(fd, in, 100, 0)));
	TRY(recv(fd, NULL, 5000, MSG_TRUNC | MSG_DONTWAIT));
	TRY(recv(fd, NULL, 5000, MSG_TRUNC | MSG_DONTWAIT));
	meet();
	settle_fin(fd);
	TRY(recv(fd, NULL, 5000, MSG_TRUNC));
}
