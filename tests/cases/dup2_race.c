/* dup2 over a descriptor that another thread sends on, and receives from: each call is on the one connection or on the
 * other, and each connection has its bytes in order. */
#include "case.h"

enum { NUMBER = 300, RECORDS = 50000 };
static int fd[2];
static _Atomic bool stop;

static void *flip(void *unused)
{
	(void)unused;
	for (int i = 0; !stop; i++)
		MUST(i % 3 ? dup2(fd[i % 2], NUMBER) : dup3(fd[i % 2], NUMBER, O_CLOEXEC));
	return NULL;
}

static long sum[2], last[2], wrong[2];

static void *reader(void *number)
{
	long i = (intptr_t)number, got, record;
	while ((got = recv(fd[i], &record, sizeof record, MSG_WAITALL)) == sizeof record) {
		wrong[i] += record <= last[i];
		last[i] = record;
		give(i, ++sum[i]);
	}
	wrong[i] += got != 0;
	return NULL;
}

void alice(void)
{
	for (int i = 0; i < 2; i++)
		fd[i] = pair_up();
	MUST(dup2(fd[0], NUMBER));
	pthread_t other = thread(flip, NULL);
	for (long i = 1; i <= RECORDS; i++) {
		send_all(NUMBER, &i, sizeof i);
		/* Never more than fits anywhere: nothing goes back to TCP. */
		while (i - take(0) - take(1) > 64)
			sched_yield();
	}
	stop = true;
	pthread_join(other, NULL);
	for (int i = 0; i < 2; i++)
		MUST(shutdown(fd[i], SHUT_WR));
	/* Back: each byte is for whoever asks for it. */
	stop = false;
	other = thread(flip, NULL);
	long all = 0, got;
	char in[10];
	while (all < 2 * 5000) {
		got = recv(NUMBER, in, sizeof in, MSG_DONTWAIT);
		CHECK(got > 0 || (got < 0 && errno == EAGAIN));
		all += got > 0 ? got : 0;
	}
	stop = true;
	pthread_join(other, NULL);
	say("back: %ld", all);
	close(NUMBER);
	meet();
}

void bob(void)
{
	char out[10] = "";
	pthread_t readers[2];
	for (intptr_t i = 0; i < 2; i++)
		fd[i] = pair_up();
	for (intptr_t i = 0; i < 2; i++)
		readers[i] = thread(reader, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	say("records: %ld, out of order: %ld", sum[0] + sum[1], wrong[0] + wrong[1]);
	for (int i = 0; i < 1000; i++)
		send_all(fd[i % 2], out, sizeof out);
	meet();
	for (int i = 0; i < 2; i++)
		close(fd[i]);
}
