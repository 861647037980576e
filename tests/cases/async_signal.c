/* SIGIO by F_SETOWN and O_ASYNC: the signal comes for bytes and for the end. */
#include "case.h"

static volatile int signs;

static void handler(int number)
{
	(void)number;
	signs++;
}

void alice(void)
{
	char in[100];
	int fd = pair_up();
	on_signal(SIGIO, handler, SA_RESTART);
	TRY(fcntl(fd, F_SETOWN, getpid()));
	TRY(fcntl(fd, F_GETOWN) == getpid());
	TRY(fcntl(fd, F_SETFL, O_RDWR | O_ASYNC | O_NONBLOCK));
	for (int i = 0; i < 3; i++) {
		signs = 0;
		meet();
		for (long start = now_ms(); !signs && now_ms() - start < 10000;)
			nap_ms(1);
		say("sign %d", signs > 0);
		settle_readable(fd, i < 2 ? 5 : 0);
		TRY(recv(fd, in, 100, 0));
	}
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 0; i < 3; i++) {
		meet();
		if (i < 2)
			send_all(fd, "hello", 5);
		else
			MUST(shutdown(fd, SHUT_WR));
	}
	char in;
	TRY(recv(fd, &in, 1, 0));
}
