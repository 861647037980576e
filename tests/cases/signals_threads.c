/* A signal that is sent to a process of several threads: its first thread takes it, if it lets it through, whoever else waits on
 * a moved connection; and a receive of that thread ends with it. */
#include "case.h"

enum { ROUNDS = 20 };
static int fd, idle;
static _Atomic int stop;

static void *echoes(void *unused)
{
	char byte;
	(void)unused;
	while (recv(fd, &byte, 1, 0) == 1) {
		byte = stop;
		send(fd, &byte, 1, MSG_NOSIGNAL);
	}
	return NULL;
}

static void *waits(void *unused)
{
	char byte;
	(void)unused;
	while (recv(idle, &byte, 1, 0) < 0 && errno == EINTR && !stop)
		;
	return NULL;
}

static void *ends(void *unused)
{
	char byte;
	(void)unused;
	give(0, gettid());
	long got = recv(idle, &byte, 1, 0);
	say("installed in its sleep: %s", got < 0 ? errno_name(errno) : "nothing");
	return NULL;
}

static void *kills(void *to)
{
	settle_asleep(getpid());
	kill(getpid(), SIGUSR1);
	nap_ms(5);
	return to;
}

void alice(void)
{
	int first = 0;
	fd = pair_up();
	idle = pair_up();
	int last = pair_up();
	pthread_t first_asleep = thread(ends, NULL);
	while (!take(0))
		nap_ms(1);
	settle_asleep(take(0));
	nap_ms(30);
	on_signal(SIGUSR1, note_taker, 0);
	pthread_kill(first_asleep, SIGUSR1);
	pthread_join(first_asleep, NULL);
	pthread_t busy = thread(echoes, NULL), asleep = thread(waits, NULL);
	meet();
	for (int i = 0; i < ROUNDS; i++) {
		nap_ms(i % 2 ? 40 : 3);
		taker = 0;
		kill(getpid(), SIGUSR1);
		while (!taker)
			;
		first += taker == getpid();
	}
	say("while others wait: %s", first == ROUNDS ? "the first thread" : "others, too");
	int ended = 0;
	for (int i = 0; i < 5; i++) {
		char byte;
		/* With handlers of both kinds, too. */
		if (i == 2)
			on_signal(SIGUSR2, note_taker, SA_RESTART);
		pthread_t killer = thread(kills, NULL);
		taker = 0;
		ended += recv(last, &byte, 1, 0) < 0 && errno == EINTR && taker == getpid();
		pthread_join(killer, NULL);
	}
	say("its own receive ended: %d", ended);
	stop = 1;
	meet();
	pthread_join(busy, NULL);
	pthread_join(asleep, NULL);
}

void bob(void)
{
	char byte;
	int other = pair_up(), quiet = pair_up(), last = pair_up();
	meet();
	set_nonblocking(other, true);
	byte = 0;
	for (int i = 0; i < 50 && !byte && send(other, &byte, 1, MSG_NOSIGNAL) == 1; i++) {
		while (recv(other, &byte, 1, 0) < 0 && errno == EAGAIN)
			;
		nap_ms(2);
	}
	meet();
	MUST(close(other));
	MUST(close(quiet));
	MUST(close(last));
}
