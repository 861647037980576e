/* A receive that sleeps for SO_RCVLOWAT is not woken by less, but ended with it by any signal, whenever that comes. */
#include "case.h"

static volatile int caught;

static void handler(int number)
{
	(void)number;
	caught++;
}

void alice(void)
{
	char in;
	int fd = pair_up(), least = 10;
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
	on_signal(SIGUSR1, handler, SA_RESTART);
	for (int step = 0; step < 4; step++) {
		caught = 0;
		meet();
		TRY(recv(fd, &in, 1, 0));
		meet();
		say("caught %d", caught);
	}
}

void bob(void)
{
	int fd = pair_up(), on = 1;
	MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
	for (int step = 0; step < 4; step++) {
		meet();
		/* Into a sleep that has just begun, or into an old one. A receive that comes later takes the byte at once. */
		nap_ms(step & 1 ? 50 : 2);
		send_all(fd, "o", 1);
		nap_ms(2);
		MUST(kill(peer_pid(), SIGUSR1));
		meet();
	}
}
