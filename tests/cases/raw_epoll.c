/* An epoll set made and used by raw system instructions, as Rust's rustix makes them: what it waits for must still come. */
#include "case.h"
#include "raw.h"

static char in[100];

void alice(void)
{
	int fd = joined();
	int set = raw(SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0, 0);
	CHECK(set >= 0);
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 7};
	CHECK(!raw(SYS_epoll_ctl, set, EPOLL_CTL_ADD, fd, (long)&event));
	trickle(fd);
	for (int i = 0; i < 3; i++) {
		/* The edges of the trickle, and then nothing. */
		while (raw(SYS_epoll_wait, set, (long)&event, 1, 0) > 0)
			;
		meet();
		say("events %ld", raw(SYS_epoll_wait, set, (long)&event, 1, 10000));
		say_epoll("raw", event.events);
		TRY(recv(fd, in, sizeof in, MSG_DONTWAIT));
	}
	meet();
}

void bob(void)
{
	int fd = joined();
	trickle(fd);
	for (int i = 0; i < 3; i++) {
		meet();
		settle_asleep(peer_pid());
		TRY(send(fd, "0123456789", 10, 0));
	}
	meet();
}
