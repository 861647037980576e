/* A timer whose handler leaves a busy loop of sends, or of receives, by siglongjmp, at whatever instruction: the stream goes
 * on, in order. (What the call that was left had done is not known, as over TCP.) */
#include "case.h"

enum { ROUNDS = 40 };
static sigjmp_buf back;
static char block[3000];

static void jump(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

static void until_jump(int fd, bool sends)
{
	on_signal(SIGALRM, jump, 0);
	if (!sigsetjmp(back, 1)) {
		struct itimerval soon = {.it_value = {0, 2000}};
		setitimer(ITIMER_REAL, &soon, NULL);
		for (;;)
			if (sends)
				send(fd, block, sizeof block, 0);
			else
				recv(fd, block, sizeof block, 0);
	}
}

void alice(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		int fd = pair_up();
		memset(block, 'a', sizeof block);
		if (round % 2)
			post(round);
		until_jump(fd, true);
		/* What a reader that jumps may take, and more. */
		while (round % 2 && take(0) < round)
			MUST(send(fd, block, sizeof block, 0));
		send_all(fd, "END!", 4);
		MUST(shutdown(fd, SHUT_WR));
		meet();
		close(fd);
	}
	say("all rounds");
}

void bob(void)
{
	static char in[sizeof block];
	int good = 0;
	for (int round = 0; round < ROUNDS; round++) {
		int fd = pair_up(), end = 0;
		bool clean = true;
		if (round % 2) {
			await(round);
			until_jump(fd, false);
			give(0, round);
		}
		long got;
		while ((got = MUST(recv(fd, in, sizeof in, 0))) > 0)
			for (long i = 0; i < got; i++)
				if (end || in[i] != 'a')
					clean &= end < 4 && in[i] == "END!"[end++];
		good += clean && end == 4;
		meet();
		close(fd);
	}
	say("good rounds: %d", good);
}
