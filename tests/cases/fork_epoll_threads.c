/* fork, again and again, while another thread works in an epoll set; each child closes what it has inherited and ends. */
#include "case.h"

static int fd, set;
static _Atomic bool stop;

static void *worker(void *unused)
{
	(void)unused;
	while (!stop) {
		struct epoll_event event;
		char in[64];
		int found = epoll_wait(set, &event, 1, 50);
		if (found == 1) {
			long got = recv(fd, in, sizeof in, MSG_DONTWAIT);
			if (got > 0)
				send_all(fd, in, got);
		}
	}
	return NULL;
}

void alice(void)
{
	fd = pair_up();
	set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	pthread_t other = thread(worker, NULL);
	meet();
	int ended = 0;
	for (int i = 0; i < 100; i++) {
		int status;
		pid_t child = MUST(fork());
		if (!child) {
			close(fd);
			close(set);
			_exit(0);
		}
		waitpid(child, &status, 0);
		ended += status == 0;
	}
	say("ended %d", ended);
	post(0);
	meet();
	stop = true;
	pthread_join(other, NULL);
	TRY(close(fd));
}

void bob(void)
{
	char message[64] = "";
	fd = pair_up();
	meet();
	while (!posted(0)) {
		send_all(fd, message, sizeof message);
		recv_all(fd, message, sizeof message);
	}
	meet();
	TRY(recv(fd, message, 1, 0));
}
