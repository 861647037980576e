/* Level-triggered epoll in every state of a connection. */
#include "case.h"

static char in[100];

static void run(bool early)
{
	int set = MUST(epoll_create1(EPOLL_CLOEXEC)), fd = joined();
	/* Registered before or after the switch. */
	if (early)
		watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
	warm(fd);
	if (!early)
		watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
	say_events("idle", set, 0);
	say_events("idle", set, 1000);
	meet();
	meet();
	settle_readable(fd, 10);
	say_events("data", set, 0);
	say_events("data", set, 1000);
	TRY(recv(fd, in, 5, 0));
	say_events("part", set, 1000);
	TRY(recv(fd, in, 5, MSG_PEEK));
	say_events("peek", set, 1000);
	TRY(recv(fd, in, 5, 0));
	say_events("all", set, 1000);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 2);
	say_events("only in", set, 0);
	long start = now_ms();
	say_events("only in", set, 100);
	say_time("only in", start, 100);
	meet();
	say_events("woken", set, 20000);
	say_events("woken", set, 20000);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLOUT, 3);
	say_events("only out", set, 1000);
	watch(set, EPOLL_CTL_MOD, fd, 0, 4);
	say_events("nothing", set, 50);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 5);
	say_events("in again", set, 1000);
	TRY(recv(fd, in, 100, 0));
	say_events("empty", set, 50);
	meet();
	settle_fin(fd);
	say_events("end", set, 1000);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP | EPOLLOUT, 6);
	say_events("end", set, 1000);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLRDHUP, 7);
	say_events("only rdhup", set, 1000);
	watch(set, EPOLL_CTL_MOD, fd, 0, 8);
	say_events("nothing", set, 50);
	TRY(recv(fd, in, 100, 0));
	say_events("nothing", set, 50);
	TRY(shutdown(fd, SHUT_WR));
	settle_reset(fd);
	say_events("hup", set, 1000);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP | EPOLLOUT, 9);
	say_events("hup", set, 1000);
	TRY(close(fd));
	say_events("closed", set, 50);
	TRY(close(set));
	meet();
}

void alice(void)
{
	run(true);
	run(false);
}

void bob(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		meet();
		send_all(fd, "0123456789", 10);
		meet();
		meet();
		settle_asleep(peer_pid());
		send_all(fd, "0123456789", 10);
		meet();
		TRY(shutdown(fd, SHUT_WR));
		TRY(recv(fd, in, 1, 0));
		meet();
		TRY(close(fd));
	}
}
