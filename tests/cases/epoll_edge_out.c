/* EPOLLOUT edge-triggered: after EAGAIN, one report when there is room again. The proxy's and event loop's way to write. */
#include "case.h"

enum { SUM = 32 << 20 };
static char data[1 << 16], in[1 << 16];

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(0));
	set_nonblocking(fd, true);
	watch(set, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLIN | EPOLLET, 1);
	size_t done = 0;
	bool blocked = false;
	while (done < SUM) {
		size_t size = SUM - done < sizeof data ? SUM - done : sizeof data;
		fill(data, size, 1, done);
		long sent = send(fd, data, size, 0);
		if (sent >= 0) {
			done += sent;
			continue;
		}
		CHECK(errno == EAGAIN);
		blocked = true;
		struct epoll_event event;
		CHECK(epoll_wait(set, &event, 1, 20000) == 1);
		CHECK(event.events & EPOLLOUT);
	}
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
	while ((got = MUST(recv(fd, in, sizeof in, 0))) > 0) {
		CHECK(is_fill(in, got, 1, done));
		done += got;
		/* Slow at times. */
		if (done % 37 == 0)
			nap_ms(20);
	}
	say("all: %d", done == SUM);
}
