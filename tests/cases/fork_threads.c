/* fork while other threads sleep in, and work on, moved connections; the child uses its copy, or only ends. */
#include "case.h"

static int fd[2];
static char in[100];

static void *sleeper(void *unused)
{
	static char mine[100];
	(void)unused;
	give(0, gettid());
	say_bytes("sleeper", mine, TRY(recv(fd[0], mine, 10, 0)));
	return NULL;
}

static _Atomic bool stop;

static void *worker(void *unused)
{
	char message[64] = "";
	(void)unused;
	while (!stop) {
		send_all(fd[1], message, sizeof message);
		recv_all(fd[1], message, sizeof message);
	}
	shutdown(fd[1], SHUT_WR);
	return NULL;
}

void alice(void)
{
	fd[0] = pair_up();
	fd[1] = pair_up();
	pthread_t threads[2] = {thread(sleeper, NULL), thread(worker, NULL)};
	int status;
	while (!take(0))
		nap_ms(1);
	settle_asleep(take(0));
	for (int i = 0; i < 20; i++) {
		pid_t child = MUST(fork());
		if (!child) {
			if (i % 5 == 4) {
				close(fd[1]);
				send_all(fd[0], "child", 5);
			}
			_exit(i);
		}
		waitpid(child, &status, 0);
		say_status("child", status);
	}
	stop = true;
	pthread_join(threads[1], NULL);
	meet();
	pthread_join(threads[0], NULL);
	TRY(send(fd[0], "parent", 6, 0));
}

void bob(void)
{
	fd[0] = pair_up();
	fd[1] = pair_up();
	char message[64];
	long got;
	while ((got = recv(fd[1], message, sizeof message, 0)) > 0)
		send_all(fd[1], message, got);
	say("worker ended: %ld", got);
	meet();
	say_bytes("children", in, TRY(recv(fd[0], in, 20, MSG_WAITALL)));
	TRY(send(fd[0], "0123456789", 10, 0));
	say_bytes("parent", in, TRY(recv(fd[0], in, 6, MSG_WAITALL)));
	TRY(recv(fd[0], in, 6, 0));
}
