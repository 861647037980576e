/* A signal handler that jumps out of a blocking recv: ugly, legal, and the endpoint goes on. */
#include "case.h"

static sigjmp_buf back;

static void jump(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

void alice(void)
{
	char in[100];
	int fd = pair_up();
	on_signal(SIGUSR1, jump, 0);
	for (volatile int round = 0; round < 3; round++) {
		if (!sigsetjmp(back, 1)) {
			recv(fd, in, 10, 0);
			say("came back");
		} else
			say("jumped");
		meet();
		say_bytes("after", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
		TRY(send(fd, "answer", 6, 0));
	}
}

void bob(void)
{
	char in[100];
	int fd = pair_up();
	for (int round = 0; round < 3; round++) {
		settle_asleep(peer_pid());
		MUST(kill(peer_pid(), SIGUSR1));
		meet();
		TRY(send(fd, "0123456789", 10, 0));
		say_bytes("in", in, TRY(recv(fd, in, 6, MSG_WAITALL)));
	}
	say_rest(fd);
}
