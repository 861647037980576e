/* shutdown while two threads sleep in recv: both return. And what SHUT_RD means to the calls after it. */
#include "case.h"

static int fd;
static _Atomic int tid;
static char in[100];

static void *sleeper(void *result)
{
	char byte;
	atomic_store(&tid, gettid());
	*(long *)result = recv(fd, &byte, 1, 0);
	return NULL;
}

static void both(int how)
{
	long results[2] = {-2, -2};
	pthread_t threads[2];
	fd = pair_up();
	for (int i = 0; i < 2; i++) {
		atomic_store(&tid, 0);
		threads[i] = thread(sleeper, &results[i]);
		while (!atomic_load(&tid))
			nap_ms(1);
		settle_asleep(atomic_load(&tid));
	}
	TRY(shutdown(fd, how));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("both: %ld %ld", results[0], results[1]);
	TRY(recv(fd, in, 10, 0));
	TRY(recv(fd, in, 10, MSG_DONTWAIT));
	TRY(recv(fd, in, 10, MSG_PEEK));
	TRY(recv(fd, in, 10, MSG_WAITALL));
	TRY(read(fd, in, 0));
	meet();
	close(fd);
}

void alice(void)
{
	both(SHUT_RD);
	both(SHUT_RDWR);
}

void bob(void)
{
	for (int i = 0; i < 2; i++) {
		fd = pair_up();
		meet();
		close(fd);
	}
}
