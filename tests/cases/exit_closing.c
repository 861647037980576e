/* A process exits while a thread of its own closes its connections. */
#include "case.h"

enum { MANY = 20, ROUNDS = 24 };
static int fds[MANY];
static _Atomic int ready;

/* Has the one that exits stop in the middle, now and then. */
static void *hogs(void *unused)
{
	pin_to(0);
	for (;;)
		;
	return unused;
}

static void *closes(void *delay)
{
	pin_to(1);
	ready++;
	while (ready < 2)
		;
	for (volatile long i = (long)delay; i > 0; i--)
		;
	for (int i = MANY - 1; i >= 0; i--)
		close(fds[i]);
	for (;;)
		pause();
	return NULL;
}

void alice(void)
{
	char in[8];
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < MANY; i++)
			fds[i] = pair_up();
		for (int i = 0; i < MANY; i++) {
			TRY(recv(fds[i], in, sizeof in, 0));
			MUST(close(fds[i]));
		}
	}
}

void bob(void)
{
	int status;
	listener();
	for (int round = 0; round < ROUNDS; round++) {
		pid_t child = MUST(fork());
		if (child == 0) {
			for (int i = 0; i < MANY; i++)
				fds[i] = pair_up();
			for (int i = 0; i < 2; i++)
				thread(hogs, NULL);
			thread(closes, (void *)(round % 12 * 3000L));
			pin_to(0);
			ready++;
			while (ready < 2)
				;
			exit(3);
		}
		MUST(waitpid(child, &status, 0));
		say_status("child", status);
	}
}
