/* MSG_DONTWAIT on a blocking socket, both ways, and a full pipe's partial counts. */
#include "case.h"

static char data[1 << 16], in[1 << 16];

void alice(void)
{
	int fd = pair_up();
	TRY(recv(fd, in, 10, MSG_DONTWAIT));
	TRY(recvfrom(fd, in, 10, MSG_DONTWAIT, NULL, NULL));
	struct iovec part = {in, 10};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	TRY(recvmsg(fd, &message, MSG_DONTWAIT));
	long sum = 0, sent;
	struct pollfd one = {fd, POLLOUT, 0};
	/* Full is when poll finds no room for a while: one EAGAIN may be a carrier's end, not the stream's. */
	do {
		fill(data, sizeof data, 1, sum);
		sent = send(fd, data, sizeof data, MSG_DONTWAIT);
		CHECK(sent > 0 || errno == EAGAIN);
		sum += sent > 0 ? sent : 0;
		CHECK(sum < 1l << 30);
	} while (poll(&one, 1, sent > 0 ? 0 : 300) == 1 || sent > 0);
	say("at least 1 MiB: %d", sum >= 1 << 20);
	give(0, sum);
	meet();
	TRY(poll(&one, 1, 10000));
	say_poll("poll", one.revents);
	/* A blocking send goes on behind it. */
	fill(data, sizeof data, 1, sum);
	TRY(send(fd, data, sizeof data, 0));
	TRY(shutdown(fd, SHUT_WR));
	say_rest(fd);
}

void bob(void)
{
	int fd = pair_up();
	meet();
	size_t sum = take(0) + sizeof data, done = 0;
	long got;
	while ((got = MUST(recv(fd, in, sizeof in, 0))) > 0) {
		CHECK(is_fill(in, got, 1, done));
		done += got;
	}
	say("all: %d", done == sum);
}
