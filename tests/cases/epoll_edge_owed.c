/* The edge of room after a send that found none is told, though later sends have been served at once. */
#include "case.h"

static char data[1 << 16], in[1 << 16];

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	set_nonblocking(fd, true);
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 7);
	say_events("first", set, 100);
	say_events("no more", set, 50);
	long sum = 0, sent;
	/* Until nothing is on its way any more that would make room. */
	do {
		while ((sent = send(fd, data, sizeof data, 0)) > 0)
			sum += sent;
		CHECK(errno == EAGAIN);
		while (epoll_wait(set, &(struct epoll_event){0}, 1, 20) > 0)
			;
		sent = send(fd, data, 1, 0);
		sum += sent > 0;
	} while (sent > 0);
	CHECK(errno == EAGAIN);
	give(0, sum);
	meet();
	meet();
	settle_sent(fd);
	nap_ms(50);
	for (int i = 0; i < 3; i++) {
		MUST(send(fd, "x", 1, 0));
		meet();
	}
	say_events("room", set, 200);
	say_events("no more", set, 50);
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	for (long left = take(0); left > 0;)
		left -= MUST(recv(fd, in, sizeof in, 0));
	meet();
	for (int i = 0; i < 3; i++) {
		MUST(recv(fd, in, 1, 0));
		meet();
	}
	meet();
	TRY(close(fd));
}
