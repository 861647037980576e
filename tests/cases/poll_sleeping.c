/* Threads asleep in poll and select while the connection is busy, from before it could move until it ends. (While one
 * sleeps in the kernel on TCP, the connection cannot move.) */
#include "case.h"

static char in[100];
static int fd;
static _Atomic int ready;

static void *in_poll(void *unused)
{
	(void)unused;
	ready++;
	struct pollfd one = {fd, POLLRDHUP | POLLPRI, 0};
	int found = poll(&one, 1, 20000);
	say("poll %d", found);
	say_poll("poll", one.revents);
	post(3);
	return NULL;
}

static void *in_select(void *unused)
{
	(void)unused;
	ready++;
	fd_set x;
	FD_ZERO(&x);
	FD_SET(fd, &x);
	struct timeval time = {1, 0};
	int found = select(fd + 1, NULL, NULL, &x, &time);
	await(3);
	say("select %d", found);
	return NULL;
}

void alice(void)
{
	fd = joined();
	pthread_t threads[2] = {thread(in_poll, NULL), thread(in_select, NULL)};
	while (ready < 2)
		nap_ms(1);
	nap_ms(20);
	trickle(fd);
	meet();
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	fd = joined();
	trickle(fd);
	meet();
	TRY(shutdown(fd, SHUT_WR));
	TRY(recv(fd, in, 1, 0));
}
