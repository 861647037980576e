/* A handler that sends on the socket whose send it interrupted: records stay whole and ordered per writer. */
#include "case.h"

enum { RECORD = 32 };
static int fd;
static volatile uint32_t signs;

static void record(char kind, uint32_t number)
{
	char out[RECORD];
	memset(out, kind, sizeof out);
	memcpy(out + 4, &number, 4);
	CHECK(send(fd, out, sizeof out, 0) == RECORD);
}

static void handler(int number)
{
	(void)number;
	record('h', signs++);
}

void alice(void)
{
	fd = pair_up();
	int on = 1;
	MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
	on_signal(SIGALRM, handler, SA_RESTART);
	struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	MUST(setitimer(ITIMER_REAL, &often, NULL));
	uint32_t i = 0;
	char in;
	for (; i < 20000 || signs < 50; i++) {
		record('m', i);
		if (i % 100 == 99)
			recv_all(fd, &in, 1);
	}
	MUST(setitimer(ITIMER_REAL, &never, NULL));
	give(0, i);
	give(1, signs);
	TRY(shutdown(fd, SHUT_WR));
	while (recv(fd, &in, 1, 0) > 0)
		;
}

void bob(void)
{
	fd = pair_up();
	char in[RECORD];
	uint32_t next[2] = {0, 0}, number;
	for (;;) {
		long got = MUST(recv(fd, in, sizeof in, MSG_WAITALL));
		if (got == 0)
			break;
		CHECK(got == RECORD && (in[0] == 'm' || in[0] == 'h') && in[0] == in[RECORD - 1]);
		memcpy(&number, in + 4, 4);
		CHECK(number == next[in[0] == 'h']++);
		if (in[0] == 'm' && number % 100 == 99)
			send_all(fd, "x", 1);
	}
	say("all %d %d", next[0] == take(0), next[1] == take(1));
}
