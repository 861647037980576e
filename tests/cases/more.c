/* MSG_MORE and TCP_CORK hold bytes back, never lose or reorder them. */
#include "case.h"

static char in[4096];

void alice(void)
{
	int fd = pair_up(), on = 1, off = 0;
	char data[1000];
	fill(data, sizeof data, 1, 0);
	TRY(send(fd, data, 100, MSG_MORE));
	TRY(send(fd, data + 100, 100, MSG_MORE));
	TRY(send(fd, data + 200, 100, 0));
	meet();
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on));
	TRY(write(fd, data + 300, 100));
	TRY(write(fd, data + 400, 100));
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off));
	meet();
	/* Left corked: the kernel sends it after 200 ms. */
	TRY(send(fd, data + 500, 100, MSG_MORE));
	meet();
	TRY(send(fd, data + 600, 100, MSG_MORE));
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	say_bytes("300", in, TRY(recv(fd, in, 300, MSG_WAITALL)));
	meet();
	say_bytes("200", in, TRY(recv(fd, in, 200, MSG_WAITALL)));
	meet();
	say_bytes("100", in, TRY(recv(fd, in, 100, MSG_WAITALL)));
	meet();
	say_rest(fd);
}
