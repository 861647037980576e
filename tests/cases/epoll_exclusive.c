/* EPOLLEXCLUSIVE: only the kernel knows whom to wake, so such a connection stays on TCP, or goes back there with what is in
 * the ring. */
#include "case.h"

static char in[100];

static void use(int set, int fd, bool unread)
{
	struct epoll_event wrong = {EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP, {.u64 = 1}};
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wrong));
	wrong.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wrong));
	wrong.events = EPOLLIN | EPOLLEXCLUSIVE;
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &wrong));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 2);
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wrong));
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &wrong));
	wrong.events = EPOLLIN;
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &wrong));
	if (unread) {
		say_events("unread", set, 1000);
		TRY(recv(fd, in, 4, 0));
		say_events("part", set, 1000);
		TRY(recv(fd, in, 6, 0));
	}
	say_events("nothing", set, 50);
	meet();
	say_events("woken", set, 20000);
	TRY(recv(fd, in, 10, 0));
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &wrong));
	watch(set, EPOLL_CTL_DEL, fd, 0, 0);
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 3);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, 4);
	say_events("ordinary", set, 1000);
	meet();
	say_rest(fd);
	close(set);
	close(fd);
}

void alice(void)
{
	int fd = pair_up();
	meet();
	settle_readable(fd, 10);
	use(MUST(epoll_create1(0)), fd, true);
	/* Registered before it could move. */
	int set = MUST(epoll_create1(0));
	fd = joined();
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 1);
	trickle(fd);
	say_events("before", set, 0);
	watch(set, EPOLL_CTL_DEL, fd, 0, 0);
	use(set, fd, false);
}

void bob(void)
{
	int fd = pair_up();
	send_all(fd, "0123456789", 10);
	meet();
	for (int i = 0; i < 2; i++) {
		if (i == 1)
			trickle(fd = joined());
		meet();
		settle_asleep(peer_pid());
		send_all(fd, "0123456789", 10);
		meet();
		send_all(fd, "the rest", 8);
		TRY(shutdown(fd, SHUT_WR));
		TRY(recv(fd, in, 1, 0));
		TRY(close(fd));
	}
}
