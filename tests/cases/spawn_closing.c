/* One thread spawns programs while another closes connections that a program would inherit. */
#include "case.h"
#include <spawn.h>

enum { ROUNDS = 12, MANY = 30 };
extern char **environ;
static int fds[MANY];
static atomic_int stop;
static void *spawner(void *x)
{
	char *v[] = {"/bin/nowhere", NULL};
	pid_t child;
	while (!stop)
		CHECK(posix_spawn(&child, v[0], NULL, NULL, v, environ) == ENOENT);
	return x;
}
void alice(void)
{
	char b[100];
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < MANY; i++)
			fds[i] = pair_up();
		meet();
		for (int i = 0; i < MANY; i++) {
			long n = recv(fds[i], b, sizeof b, 0);
			if (n != 0)
				say("recv %ld %s", n, n < 0 ? errno_name(errno) : "");
			close(fds[i]);
		}
	}
	say("done");
}
void bob(void)
{
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < MANY; i++) {
			fds[i] = pair_up();
			fcntl(fds[i], F_SETFD, 0);
		}
		meet();
		stop = 0;
		pthread_t t = thread(spawner, NULL);
		for (int i = MANY - 1; i >= 0; i--) {
			for (volatile int j = 0; j < 4000 * r; j++)
				;
			close(fds[i]);
		}
		stop = 1;
		pthread_join(t, NULL);
	}
	say("done");
}
