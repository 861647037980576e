/* close, while other threads look at the same number again and again: the peer sees the end, and no descriptor is left. */
#include "case.h"

static _Atomic int current = -1;
static _Atomic bool stop;

static void *looker(void *looks)
{
	char in[64];
	while (!stop) {
		int fd = atomic_load(&current);
		if (fd >= 0)
			recv(fd, in, sizeof in, MSG_DONTWAIT);
		atomic_fetch_add((_Atomic long *)looks, 1);
		sched_yield();
	}
	return NULL;
}

static int open_below_1000(void)
{
	int count = 0;
	for (int i = 0; i < 1000; i++)
		count += fcntl(i, F_GETFD) >= 0;
	return count;
}

void alice(void)
{
	int before = open_below_1000();
	static _Atomic long looks[2];
	pthread_t threads[2] = {thread(looker, &looks[0]), thread(looker, &looks[1])};
	for (int i = 0; i < 30; i++) {
		int fd = pair_up();
		meet();
		atomic_store(&current, fd);
		nap_ms(2);
		MUST(close(fd));
		meet();
		atomic_store(&current, -1);
		/* The number may be the next connection's: nobody looks at the old one any more. */
		for (int looker = 0; looker < 2; looker++)
			for (long seen = looks[looker]; looks[looker] < seen + 2;)
				sched_yield();
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("left open: %d", open_below_1000() - before);
}

void bob(void)
{
	char in[10];
	int ends = 0;
	for (int i = 0; i < 30; i++) {
		int fd = pair_up();
		meet();
		ends += recv(fd, in, 10, 0) == 0;
		meet();
		close(fd);
	}
	say("ends: %d", ends);
}
