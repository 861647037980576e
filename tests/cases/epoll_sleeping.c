/* Threads already asleep in epoll_wait, level and edge, when the connection moves; then it has news. */
#include "case.h"

static char in[100];
static int fd, set, edge;
static _Atomic int ready;

static void *in_epoll(void *unused)
{
	(void)unused;
	ready++;
	say_events("level", set, 20000);
	post(1);
	return NULL;
}

static void *in_edge(void *unused)
{
	(void)unused;
	ready++;
	/* Woken by the traffic of the exchange, too: until the end shows. */
	struct epoll_event event = {0};
	while (!(event.events & EPOLLRDHUP))
		CHECK(epoll_wait(edge, &event, 1, 20000) == 1);
	await(1);
	say_epoll("edge", event.events);
	post(2);
	return NULL;
}

void alice(void)
{
	fd = joined();
	set = MUST(epoll_create1(0));
	edge = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLRDHUP | EPOLLPRI, 1);
	watch(edge, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 2);
	pthread_t threads[2] = {thread(in_epoll, NULL), thread(in_edge, NULL)};
	while (ready < 2)
		nap_ms(1);
	nap_ms(20);
	warm(fd);
	meet();
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	fd = pair_up();
	meet();
	TRY(shutdown(fd, SHUT_WR));
	TRY(recv(fd, in, 1, 0));
}
