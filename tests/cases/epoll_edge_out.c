/* EPOLLOUT edge-triggered: after EAGAIN, or after a send that was cut short, one report when there is room again. The
 * proxy's and event loop's way to write. */
#include "case.h"

enum { SUM = 32 << 20 };
static char data[8 << 20], in[1 << 16];

/* `part`: how much at once; more than a socket holds is cut short, and that is enough to wait for an edge. */
static bool stream(int fd, int set, size_t part)
{
	struct epoll_event event;
	size_t done = 0;
	bool waited = false;
	while (done < SUM) {
		size_t size = SUM - done < part ? SUM - done : part;
		fill(data, size, 1, done);
		long sent = send(fd, data, size, 0);
		if (sent > 0)
			done += sent;
		if (sent == (long)size)
			continue;
		CHECK(sent > 0 || errno == EAGAIN);
		waited = true;
		post(1);
		CHECK(epoll_wait(set, &event, 1, 20000) == 1);
		CHECK(event.events & EPOLLOUT);
	}
	return waited;
}

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(0));
	set_nonblocking(fd, true);
	watch(set, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLIN | EPOLLET, 1);
	bool blocked = stream(fd, set, 1 << 16);
	say("cut short %d", stream(fd, set, sizeof data));
	say("blocked %d", blocked);
	TRY(shutdown(fd, SHUT_WR));
	struct epoll_event event = {0};
	while (!(event.events & EPOLLIN))
		CHECK(epoll_wait(set, &event, 1, 20000) == 1);
	TRY(recv(fd, in, 10, 0));
}

void bob(void)
{
	int fd = pair_up();
	size_t done = 0;
	long got;
	/* Not before it is cut short once. */
	await(1);
	while ((got = MUST(recv(fd, in, sizeof in, 0))) > 0) {
		for (long at = 0; at < got;) {
			size_t from = (done + at) % SUM, count = SUM - from < (size_t)(got - at) ? SUM - from : (size_t)(got - at);
			CHECK(is_fill(in + at, count, 1, from));
			at += count;
		}
		done += got;
		/* Slow at times. */
		if (done % 37 == 0)
			nap_ms(20);
	}
	say("all: %d", done == 2 * SUM);
}
