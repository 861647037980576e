/* A signal ends a long send whose reader keeps it busy, and one whose reader has stopped: with what was sent until then. */
#include "case.h"

enum { MUCH = 64 << 20 };
static _Atomic int handled;
static int turn;

static void handler(int number)
{
	(void)number;
	handled++;
}

static void *killer(void *sender)
{
	/* Well inside the send. */
	await(turn);
	nap_ms(30);
	pthread_kill(*(pthread_t *)sender, SIGUSR1);
	return NULL;
}

void alice(void)
{
	int fd = pair_up();
	char *bytes = calloc(1, MUCH);
	pthread_t self = pthread_self();
	for (int i = 0; i < 4; i++) {
		turn = i;
		/* With part of it sent SA_RESTART changes nothing. */
		on_signal(SIGUSR1, handler, i % 2 ? SA_RESTART : 0);
		meet();
		pthread_t other = thread(killer, &self);
		long sent = send(fd, bytes, MUCH, 0);
		pthread_join(other, NULL);
		say("%d: part %d", i, sent > 0 && sent < MUCH);
		give(1, sent);
		meet();
		meet();
	}
}

void bob(void)
{
	int fd = pair_up();
	static char in[4096];
	for (int i = 0; i < 4; i++) {
		long got = 0;
		meet();
		settle_readable(fd, 1);
		post(i);
		/* Slower than alice, who would need a second for all of it; and in the second half not at all. */
		while (i < 2 && !take(1)) {
			long n = recv(fd, in, sizeof in, MSG_DONTWAIT);
			got += n > 0 ? n : 0;
			for (volatile int j = 0; j < 100000; j++)
				;
		}
		meet();
		for (long n; got < take(1) && (n = recv(fd, in, sizeof in, 0)) > 0;)
			got += n;
		say("all: %d", got == take(1));
		give(1, 0);
		meet();
	}
}
