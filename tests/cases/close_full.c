/* Close with bytes that a replaced peer has not read and TCP has hardly room for: at once, and nothing lost. */
#include "case.h"

static char data[50000], in[4096];

void alice(void)
{
	int fd = pair_up(), least = 4096;
	MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least));
	set_nonblocking(fd, true);
	long sent = 0, part;
	fill(data, sizeof data, 1, 0);
	meet();
	while (sent < (long)sizeof data && (part = send(fd, data + sent, 1000, 0)) > 0)
		sent += part;
	give(0, sent);
	post(0);
	await(1);
	long start = now_ms();
	TRY(close(fd));
	say("at once %d", now_ms() - start < 500);
	post(2);
}

void again(int fd)
{
	post(1);
	await(2);
	long all = 0, got;
	while ((got = recv(fd, in, sizeof in, 0)) > 0) {
		CHECK(is_fill(in, got, 1, all));
		all += got;
	}
	say("all of it %d, then %s", all == take(0), got ? errno_name(errno) : "end");
}

void bob(void)
{
	int fd = pair_up(), least = 2048;
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least));
	meet();
	await(0);
	exec_again(fd, true);
}
