/* Many threads make their first connections at one moment: each of them is watched, and moves. */
#include "case.h"

enum { THREADS = 16 };
static pthread_barrier_t together;

static void *first(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&together);
	int fd = joined();
	warm(fd);
	MUST(close(fd));
	return NULL;
}

static void both(void)
{
	pthread_t threads[THREADS];
	pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		threads[i] = thread(first, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	say("all moved");
}

void alice(void)
{
	both();
}

void bob(void)
{
	listener();
	both();
}
