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
	for (int calls = 0;; calls++) {
		fill(data, sizeof data, 1, sum);
		sent = send(fd, data, sizeof data, MSG_DONTWAIT);
		if (sent < 0)
			break;
		CHECK(sent > 0);
		sum += sent;
		CHECK(calls < 100000);
	}
	say("full: %s, at least 1 MiB: %d", errno_name(errno), sum >= 1 << 20);
	TRY(send(fd, data, 1, MSG_DONTWAIT));
	struct pollfd one = {fd, POLLOUT, 0};
	TRY(poll(&one, 1, 0));
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
