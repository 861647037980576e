/* A signal with SA_RESTART in several readers of one socket, as a byte comes that only one of them gets: the others
 * wait on. */
#include "case.h"

enum { N = 3, ROUNDS = 60 };

static int fd;
static volatile int caught;
static atomic_int eintr, bytes, others;

static void handler(int n)
{
	(void)n;
	caught++;
}

static void *reader(void *u)
{
	(void)u;
	char c;
	for (;;) {
		long r = recv(fd, &c, 1, 0);
		if (r == 1)
			bytes++;
		else if (r == 0)
			return NULL;
		else if (errno == EINTR)
			eintr++;
		else {
			others++;
			return NULL;
		}
	}
}

void alice(void)
{
	fd = pair_up();
	on_signal(SIGUSR1, handler, SA_RESTART);
	pthread_t t[N];
	for (int i = 0; i < N; i++)
		t[i] = thread(reader, NULL);
	for (int r = 0; r < ROUNDS; r++) {
		meet();
		for (int k = 0; k < 4; k++)
			for (int i = 0; i < N; i++)
				pthread_kill(t[i], SIGUSR1);
	}
	for (int i = 0; i < N; i++)
		pthread_join(t[i], NULL);
	say("bytes %d, interrupted %d, others %d", bytes, eintr, others);
}

void bob(void)
{
	int f = pair_up();
	for (int r = 0; r < ROUNDS; r++) {
		/* All but the one that got the last byte sleep for long by now. Had they begun just before, nothing would be
		 * shown, and nothing said. */
		nap_ms(35);
		meet();
		MUST(send(f, "x", 1, 0));
	}
	TRY(close(f));
}
