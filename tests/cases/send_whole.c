/* Two threads send at once, with room for both: neither message has the other's bytes in it. */
#include "case.h"

enum { SIZE = 100000, ROUNDS = 300 };
static int fd;
static pthread_barrier_t barrier;

static void *sender(void *letter)
{
	static _Thread_local char message[SIZE];
	memset(message, *(char *)letter, SIZE);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		CHECK(send(fd, message, SIZE, 0) == SIZE);
		pthread_barrier_wait(&barrier);
		if (*(char *)letter == 'a')
			recv_all(fd, message, 1);
		memset(message, *(char *)letter, 1);
	}
	return NULL;
}

void alice(void)
{
	char letters[] = "ab";
	fd = pair_up();
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_t threads[] = {thread(sender, letters), thread(sender, letters + 1)};
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("sent");
}

void bob(void)
{
	static char both[2 * SIZE];
	int mixed = 0;
	fd = pair_up();
	for (int i = 0; i < ROUNDS; i++) {
		recv_all(fd, both, sizeof both);
		for (int at = 1; at < SIZE; at++)
			if (both[at] != both[0] || both[SIZE + at] != both[SIZE]) {
				mixed++;
				break;
			}
		send_all(fd, "n", 1);
	}
	say("mixed: %d of %d", mixed, ROUNDS);
}
