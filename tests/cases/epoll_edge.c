/* Edge-triggered epoll: one report for each arrival, whatever was read; re-armed by MOD. */
#include "case.h"

static char in[100];

static void more(int fd, int sum)
{
	meet();
	meet();
	settle_readable(fd, sum);
}

static void run(bool early)
{
	int set = MUST(epoll_create1(EPOLL_CLOEXEC)), fd = joined();
	uint32_t all = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	if (early)
		watch(set, EPOLL_CTL_ADD, fd, all, 1);
	warm(fd);
	if (!early)
		watch(set, EPOLL_CTL_ADD, fd, all, 1);
	else {
		/* What arrived during the exchange was one edge, or more. */
		struct epoll_event event;
		MUST(epoll_wait(set, &event, 1, 0));
	}
	say_events("first", set, early ? 0 : 1000);
	say_events("quiet", set, 50);
	more(fd, 10);
	say_events("arrival", set, 1000);
	say_events("quiet", set, 50);
	more(fd, 20);
	say_events("arrival, nothing read", set, 1000);
	say_events("quiet", set, 50);
	TRY(recv(fd, in, 5, 0));
	say_events("part read", set, 50);
	more(fd, 25);
	say_events("arrival", set, 1000);
	TRY(recv(fd, in, 25, 0));
	say_events("all read", set, 50);
	TRY(recv(fd, in, 25, MSG_DONTWAIT));
	say_events("read again", set, 50);
	more(fd, 10);
	TRY(recv(fd, in, 10, 0));
	/* Arrived and read before anybody looked: the kernel looks at the level when it reports. */
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 2);
	say_events("gone before", set, 50);
	more(fd, 10);
	say_events("arrival", set, 1000);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 3);
	say_events("mod", set, 1000);
	say_events("quiet", set, 50);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 4);
	say_events("mod", set, 1000);
	/* Asleep when it arrives. */
	meet();
	say_events("woken", set, 20000);
	meet();
	meet();
	settle_fin(fd);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 5);
	say_events("end", set, 1000);
	say_events("quiet", set, 50);
	TRY(recv(fd, in, 100, 0));
	TRY(recv(fd, in, 100, 0));
	say_events("quiet", set, 50);
	TRY(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 6);
	say_events("added again", set, 1000);
	say_events("quiet", set, 50);
	TRY(close(fd));
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
		for (int j = 0; j < 5; j++) {
			meet();
			send_all(fd, "0123456789", 10);
			meet();
		}
		meet();
		settle_asleep(peer_pid());
		send_all(fd, "0123456789", 10);
		meet();
		TRY(shutdown(fd, SHUT_WR));
		meet();
		TRY(recv(fd, in, 1, 0));
		meet();
		TRY(close(fd));
	}
}
