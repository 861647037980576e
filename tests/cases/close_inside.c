/* A thread inside a receive keeps a closed socket alive. What it leaves unread resets the connection when it returns. */
#include "case.h"

static char in[10];
static int fd;

static void *receive(void *bytes)
{
	give(0, gettid());
	long got = recv(fd, in, (intptr_t)bytes, 0);
	give(1, got);
	return NULL;
}

void alice(void)
{
	for (int i = 0; i < 2; i++) {
		fd = pair_up();
		give(0, 0);
		pthread_t reader = thread(receive, (void *)(intptr_t)(i ? 1 : 2));
		while (!take(0))
			nap_ms(1);
		settle_asleep(take(0));
		TRY(close(fd));
		meet();
		pthread_join(reader, NULL);
		say("received %ld", take(1));
		meet();
	}
}

void bob(void)
{
	for (int i = 0; i < 2; i++) {
		int mine = pair_up();
		meet();
		TRY(send(mine, "ab", 2, 0));
		meet();
		TRY(recv(mine, in, 1, 0));
		TRY(close(mine));
	}
}
