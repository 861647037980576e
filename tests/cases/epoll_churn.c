/* Threads make, copy and close epoll sets while connections move: their own sets are nobody's foreign ones. */
#include "case.h"

enum { CONNECTIONS = 6, CHURNERS = 2 };
static int fds[CONNECTIONS];
static _Atomic int going = 1;

static void *churn(void *unused)
{
	(void)unused;
	while (going) {
		int set = MUST(epoll_create1(EPOLL_CLOEXEC)), copy = MUST(dup(set));
		MUST(close(set));
		MUST(close(copy));
	}
	return NULL;
}

static void *talk(void *fd)
{
	/* The first receives sleep in the shim's own sets. */
	warm(*(int *)fd);
	return NULL;
}

static void both(void)
{
	pthread_t churners[CHURNERS], talkers[CONNECTIONS];
	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = joined();
	for (int i = 0; i < CHURNERS; i++)
		churners[i] = thread(churn, NULL);
	for (int i = 0; i < CONNECTIONS; i++)
		talkers[i] = thread(talk, &fds[i]);
	for (int i = 0; i < CONNECTIONS; i++)
		pthread_join(talkers[i], NULL);
	going = 0;
	for (int i = 0; i < CHURNERS; i++)
		pthread_join(churners[i], NULL);
	say("all moved");
}

void alice(void)
{
	both();
}

void bob(void)
{
	both();
}
