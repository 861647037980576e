/* SO_SNDBUF and SO_RCVBUF set small by the program: it fills sooner than by default, and nothing is lost. */
#include "case.h"

static char data[1 << 16], in[1 << 16];

void alice(void)
{
	meet();
	int fd = joined(), small = 4096;
	MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
	warm(fd);
	set_nonblocking(fd, true);
	size_t sum = 0;
	long sent;
	fill(data, sizeof data, 1, 0);
	while ((sent = send(fd, data, 1000, 0)) > 0 && sum < 100 << 20)
		sum += sent;
	say("full %d", sent < 0 && errno == EAGAIN);
	give(0, sum);
	meet();
	set_nonblocking(fd, false);
	send_all(fd, data, sizeof data);
	TRY(close(fd));
}

void bob(void)
{
	int small = 4096;
	MUST(setsockopt(listener(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
	meet();
	int fd = pair_up();
	meet();
	for (long sum = take(0), got; sum; sum -= got) {
		got = MUST(recv(fd, in, sum < (long)sizeof in ? sum : (long)sizeof in, 0));
		CHECK(got > 0);
	}
	recv_all(fd, in, sizeof in);
	say("all: %d", is_fill(in, sizeof in, 1, 0));
	TRY(recv(fd, in, 1, 0));
}
