/* A program that becomes a daemon with its moved connection: double fork, the parents end by _exit. */
#include "case.h"

void alice(void)
{
	char in[100];
	int fd = pair_up(), status;
	int set = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	pid_t child = MUST(fork());
	if (!child) {
		setsid();
		if (MUST(fork()))
			_exit(0);
		await(0);
		TRY(send(fd, "daemon", 6, 0));
		say_events("daemon", set, 20000);
		say_bytes("in", in, TRY(recv(fd, in, 6, MSG_WAITALL)));
		TRY(close(fd));
		post(1);
		_exit(0);
	}
	waitpid(child, &status, 0);
	say_status("child", status);
	post(0);
	close(fd);
	close(set);
	await(1);
}

void bob(void)
{
	char in[100];
	int fd = pair_up();
	say_bytes("in", in, TRY(recv(fd, in, 6, MSG_WAITALL)));
	nap_ms(20);
	TRY(send(fd, "answer", 6, 0));
	TRY(recv(fd, in, 1, 0));
}
