/* Two signals that are pending at once in a blocking recv, one with SA_RESTART and one without: the first decides. */
#include "case.h"

static void handler(int number)
{
	give(number == SIGUSR1 ? 1 : 2, 1);
}

void alice(void)
{
	char in;
	int fd = pair_up();
	for (int restarts = 0; restarts < 2; restarts++) {
		on_signal(SIGUSR1, handler, restarts ? SA_RESTART : 0);
		on_signal(SIGUSR2, handler, restarts ? 0 : SA_RESTART);
		give(1, 0);
		give(2, 0);
		meet();
		TRY(recv(fd, &in, 1, 0));
		say("handlers: %ld %ld", take(1), take(2));
		if (!restarts)
			TRY(recv(fd, &in, 1, 0));
		meet();
	}
}

/* Waits until a process is stopped. */
static void settle_stopped(pid_t pid)
{
	char path[64], line[512] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	do {
		nap_ms(1);
		FILE *file = fopen(path, "r");
		CHECK(file && fgets(line, sizeof line, file));
		fclose(file);
	} while (strrchr(line, ')')[2] != 'T');
}

void bob(void)
{
	int fd = pair_up();
	for (int restarts = 0; restarts < 2; restarts++) {
		meet();
		settle_asleep(peer_pid());
		MUST(kill(peer_pid(), SIGSTOP));
		settle_stopped(peer_pid());
		MUST(kill(peer_pid(), SIGUSR2));
		MUST(kill(peer_pid(), SIGUSR1));
		MUST(kill(peer_pid(), SIGCONT));
		settle_asleep(peer_pid());
		send_all(fd, "x", 1);
		meet();
	}
}
