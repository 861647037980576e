/* A thread that polls both ends of a connection while another shuts them down: neither end is told of before the other. */
#include "case.h"

enum { ROUNDS = 60 };
static int one, other, both;
static _Atomic int polling;

static void *polls(void *unused)
{
	struct pollfd ends[] = {{one, 0, 0}, {other, 0, 0}};
	polling = gettid();
	both += MUST(poll(ends, 2, -1)) == 2;
	return unused;
}

void alice(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int listening = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	MUST(bind(listening, (void *)&address, sizeof address));
	MUST(listen(listening, 5));
	MUST(getsockname(listening, (void *)&address, &size));
	for (int round = 0; round < ROUNDS; round++) {
		one = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
		MUST(connect(one, (struct sockaddr *)&address, sizeof address));
		other = MUST(accept(listening, NULL, NULL));
		warm_self(one, other);
		polling = 0;
		pthread_t poller = thread(polls, NULL);
		while (!polling)
			;
		settle_asleep(polling);
		MUST(shutdown(other, SHUT_WR));
		settle_fin(one);
		settle_asleep(polling);
		MUST(shutdown(one, SHUT_WR));
		pthread_join(poller, NULL);
		MUST(close(one));
		MUST(close(other));
	}
	/* A thread that is woken on another processor may look between the two, over TCP as well, now and then. */
	say("both in all rounds but a few: %d", both >= ROUNDS - 3);
}

void bob(void)
{
}
