/* One thread sends without a pause while another closes the number (which lingers, each third time), or shuts the sending down:
 * the peer gets what was sent, in order, up to some point. */
#include "case.h"

enum { ROUNDS = 30 };
static int fd;
static _Atomic int sending;

static void *sender(void *unused)
{
	(void)unused;
	char piece[16];
	for (size_t sent = 0;; sent += sizeof piece) {
		fill(piece, sizeof piece, 3, sent);
		sending = 1;
		if (send(fd, piece, sizeof piece, MSG_NOSIGNAL) != sizeof piece)
			return NULL;
	}
}

void alice(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		fd = pair_up();
		struct linger linger = {i % 3 == 0, 5};
		MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
		sending = 0;
		pthread_t other = thread(sender, NULL);
		while (!sending)
			;
		nap_ms(2);
		if (i % 2)
			MUST(shutdown(fd, SHUT_WR));
		else
			MUST(close(fd));
		pthread_join(other, NULL);
		if (i % 2)
			MUST(close(fd));
		meet();
	}
}

void bob(void)
{
	static char in[65536];
	for (int i = 0; i < ROUNDS; i++) {
		int own = pair_up();
		bool whole = true;
		size_t all = 0;
		for (long n; (n = recv(own, in, sizeof in, 0)) > 0; all += n)
			whole &= is_fill(in, n, 3, all);
		say("in order: %d", whole);
		MUST(close(own));
		meet();
	}
}
