/* A signal in a blocking receive whose last bytes came through TCP (of sendfile), on a connection that else moves. */
#include "case.h"

static char in[100];
static volatile int caught;

static void handler(int number)
{
	(void)number;
	caught++;
}

void bob(void)
{
	int fd = pair_up();
	for (int step = 0; step < 4; step++) {
		int file = MUST(memfd_create("file", 0));
		CHECK(write(file, "0123456789", 10) == 10);
		off_t at = 0;
		TRY(sendfile(fd, file, &at, 10));
		close(file);
		meet();
		meet();
		settle_asleep(peer_pid());
		MUST(kill(peer_pid(), SIGUSR1));
		if (step & 1) {
			settle_asleep(peer_pid());
			send_all(fd, "r", 1);
		}
		meet();
	}
}

void alice(void)
{
	int fd = pair_up();
	for (int step = 0; step < 4; step++) {
		on_signal(SIGUSR1, handler, step & 1 ? SA_RESTART : 0);
		meet();
		recv_all(fd, in, 10);
		caught = 0;
		meet();
		TRY(recv(fd, in, step < 2 ? 1 : 2, step < 2 ? 0 : MSG_PEEK));
		say("caught %d", caught);
		meet();
		if (step == 3)
			TRY(recv(fd, in, 1, 0));
	}
}
