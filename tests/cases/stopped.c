/* SIGSTOP and SIGCONT on either side in full flow: nothing lost, the other side's time-outs are its own. */
#include "case.h"

enum { SUM = 16 << 20 };
static char data[1 << 16];

void alice(void)
{
	int fd = pair_up(), status;
	pid_t child = MUST(fork());
	if (!child) {
		for (size_t done = 0; done < SUM; done += sizeof data) {
			fill(data, sizeof data, 1, done);
			send_all(fd, data, sizeof data);
			give(0, done);
		}
		_exit(0);
	}
	close(fd);
	for (int i = 1; i <= 5; i++) {
		while (take(0) < (long)SUM / 8 * i)
			nap_ms(1);
		MUST(kill(child, SIGSTOP));
		nap_ms(30);
		MUST(kill(child, SIGCONT));
		MUST(kill(peer_pid(), SIGSTOP));
		nap_ms(30);
		MUST(kill(peer_pid(), SIGCONT));
	}
	waitpid(child, &status, 0);
	say_status("child", status);
	meet();
}

void bob(void)
{
	int fd = pair_up();
	size_t done = 0;
	long got;
	while ((got = MUST(recv(fd, data, sizeof data, 0))) > 0) {
		CHECK(is_fill(data, got, 1, done));
		done += got;
	}
	say("all: %d", done == SUM);
	/* Stopped asleep in a call with a time-out. */
	struct timeval time = {0, 100000};
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
	TRY(recv(fd, data, 1, 0));
	meet();
}
