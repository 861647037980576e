/* A handler that receives what its thread is just peeking at: the peek shows one moment of the stream. */
#include "case.h"

enum { LEN = 100000 };
static unsigned char in[LEN], handlers[LEN];
static int fd;

static void handler(int signal)
{
	(void)signal;
	if (recv(fd, handlers, LEN, MSG_DONTWAIT) > 0)
		nap_ms(1);
}

void alice(void)
{
	static unsigned char out[LEN];
	fd = pair_up();
	meet();
	for (int i = 0; !posted(1); i++) {
		memset(out, i, LEN);
		send_all(fd, out, LEN);
	}
	shutdown(fd, SHUT_WR);
	meet();
}

void bob(void)
{
	int torn = 0;
	fd = pair_up();
	on_signal(SIGALRM, handler, SA_RESTART);
	struct itimerval due = {{0, 3300}, {0, 3300}}, none = {{0, 0}, {0, 0}};
	meet();
	MUST(setitimer(ITIMER_REAL, &due, NULL));
	for (long start = now_ms(); now_ms() - start < 3000;) {
		long n = recv(fd, in, LEN, MSG_PEEK);
		int steps = 0;
		for (long i = 1; i < n; i++) {
			unsigned char step = in[i] - in[i - 1];
			steps += step;
		}
		torn += steps > 1;
	}
	MUST(setitimer(ITIMER_REAL, &none, NULL));
	say("torn: %s", torn ? "yes" : "no");
	post(1);
	while (recv(fd, in, LEN, 0) > 0)
		;
	meet();
}
