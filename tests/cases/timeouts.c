/* SO_RCVTIMEO and SO_SNDTIMEO. */
#include "case.h"

static char data[1 << 20];

void alice(void)
{
	int fd = pair_up();
	struct timeval timeout = {0, 200000}, seen;
	socklen_t size = sizeof seen;
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
	TRY(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &seen, &size));
	say("%ld s %ld us", seen.tv_sec, seen.tv_usec);
	long start = now_ms();
	TRY(recv(fd, data, 10, 0));
	say_time("recv", start, 200);
	start = now_ms();
	TRY(read(fd, data, 10));
	say_time("read", start, 200);
	struct iovec part = {data, 10};
	start = now_ms();
	TRY(readv(fd, &part, 1));
	say_time("readv", start, 200);
	timeout = (struct timeval){10, 0};
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
	meet();
	say_bytes("data in time", data, TRY(recv(fd, data, 10, 0)));
	timeout = (struct timeval){0, 0};
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
	timeout = (struct timeval){0, 1000000};
	TRY(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout));
	timeout = (struct timeval){0, 300000};
	TRY(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout));
	long sum = 0, sent;
	fill(data, sizeof data, 1, 0);
	do {
		start = now_ms();
		sent = send(fd, data, sizeof data, 0);
		sum += sent > 0 ? sent : 0;
		CHECK(sum < 1l << 30);
	} while (sent > 0);
	say("send: %s, at least 1 MiB: %d", errno_name(errno), sum >= 1 << 20);
	say_time("send", start, 300);
	give(0, sum);
	meet();
	/* Room again: the same call goes on. */
	meet();
	TRY(send(fd, data, 1000, 0));
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	settle_asleep(peer_pid());
	send_all(fd, "0123456789", 10);
	meet();
	static char in[1 << 16];
	long sum = 0;
	while (sum < take(0)) {
		long got = MUST(recv(fd, in, sizeof in, 0));
		CHECK(got > 0);
		sum += got;
	}
	say("all: %d", sum == take(0));
	meet();
	say_rest(fd);
}
