/* The lowest free number while another thread sleeps in poll on a moved connection, and after standard input is closed. */
#include "case.h"

static int fd;
static _Atomic int tid;

static void *sleeper(void *unused)
{
	(void)unused;
	struct pollfd one = {fd, POLLIN, 0};
	atomic_store(&tid, gettid());
	TRY(poll(&one, 1, 20000));
	return NULL;
}

void alice(void)
{
	fd = pair_up();
	for (int round = 0; round < 2; round++) {
		int lowest = MUST(open("/dev/null", O_RDONLY | O_CLOEXEC));
		close(lowest);
		atomic_store(&tid, 0);
		pthread_t other = thread(sleeper, NULL);
		while (!atomic_load(&tid))
			nap_ms(1);
		settle_asleep(atomic_load(&tid));
		int next = MUST(open("/dev/null", O_RDONLY | O_CLOEXEC));
		say("lowest: %d", next == lowest);
		close(next);
		close(0);
		say("standard input: %ld", (long)MUST(open("/dev/null", O_RDONLY)));
		meet();
		pthread_join(other, NULL);
		char byte;
		recv_all(fd, &byte, 1);
	}
}

void bob(void)
{
	fd = pair_up();
	for (int round = 0; round < 2; round++) {
		meet();
		send_all(fd, "x", 1);
	}
}
