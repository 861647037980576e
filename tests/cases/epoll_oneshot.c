/* EPOLLONESHOT: one report, then silence until MOD; also with edges, with two threads, with the end. */
#include "case.h"

static char in[100];
static int set;
static _Atomic int reports;

static void *waiter(void *unused)
{
	(void)unused;
	struct epoll_event event;
	int found = epoll_wait(set, &event, 1, 300);
	reports += found;
	return NULL;
}

void alice(void)
{
	int fd = pair_up();
	set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLONESHOT, 1);
	say_events("out", set, 1000);
	say_events("silent", set, 50);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 2);
	meet();
	say_events("in", set, 20000);
	say_events("silent", set, 50);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 3);
	say_events("in again", set, 1000);
	say_events("silent", set, 50);
	meet();
	settle_readable(fd, 20);
	say_events("silent", set, 50);
	TRY(recv(fd, in, 20, 0));
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT | EPOLLET, 4);
	say_events("empty", set, 50);
	meet();
	say_events("edge", set, 20000);
	say_events("silent", set, 50);
	/* Two threads: one report. */
	watch(set, EPOLL_CTL_MOD, fd, 0, 5);
	pthread_t threads[2] = {thread(waiter, NULL), thread(waiter, NULL)};
	nap_ms(20);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 6);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	say("reports %d", reports);
	/* The end is silent too, even a hang-up. */
	TRY(recv(fd, in, 20, 0));
	meet();
	settle_fin(fd);
	say_events("silent", set, 50);
	TRY(shutdown(fd, SHUT_WR));
	settle_reset(fd);
	say_events("silent", set, 50);
	watch(set, EPOLL_CTL_MOD, fd, EPOLLONESHOT, 7);
	say_events("hup", set, 1000);
	say_events("silent", set, 50);
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 0; i < 3; i++) {
		meet();
		send_all(fd, "0123456789", 10);
	}
	meet();
	TRY(shutdown(fd, SHUT_WR));
	TRY(recv(fd, in, 1, 0));
}
