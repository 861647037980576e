/* A process exits, with signals on the way, while a thread of its own closes its connections. */
#include "case.h"

enum { ROUNDS = 6, MANY = 30 };
static int fds[MANY];
static atomic_int go;
static pthread_t main_thread;
static void lazy(int s)
{
	(void)s;
	usleep(1000);
}
static void *teaser(void *x)
{
	while (!go)
		;
	for (int i = 0; i < 20; i++) {
		pthread_kill(main_thread, SIGUSR1);
		usleep(1500);
	}
	return x;
}
static void *closer(void *x)
{
	while (!go)
		;
	for (int i = MANY - 1; i >= 0; i--) {
		close(fds[i]);
		usleep(500);
	}
	for (;;)
		pause();
	return x;
}
void alice(void)
{
	char b[100];
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < MANY; i++)
			fds[i] = pair_up();
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
	int status, bad = 0;
	listener();
	for (int r = 0; r < ROUNDS; r++) {
		pid_t child = MUST(fork());
		if (!child) {
			for (int i = 0; i < MANY; i++)
				fds[i] = pair_up();
			main_thread = pthread_self();
			on_signal(SIGUSR1, lazy, SA_RESTART);
			thread(closer, NULL);
			thread(teaser, NULL);
			nap_ms(5);
			go = 1;
			for (volatile int i = 0; i < r * 5000; i++)
				;
			exit(3);
		}
		waitpid(child, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 3) {
			bad++;
			say_status("child", status);
		}
	}
	say("bad %d", bad);
}
