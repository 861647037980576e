/* A set shared over fork: the child waits in its parent's set; and a child that only ends leaves it alone. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(0)), status;
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	say_events("quiet", set, 50);
	pid_t child = MUST(fork());
	if (!child)
		_exit(3);
	waitpid(child, &status, 0);
	say_status("child", status);
	meet();
	say_events("after fork", set, 20000);
	MUST(recv(fd, in, 10, 0));
	/* The child closes the descriptor, the parent's registration stays. */
	child = MUST(fork());
	if (!child) {
		close(fd);
		close(set);
		_exit(4);
	}
	waitpid(child, &status, 0);
	say_status("child", status);
	meet();
	say_events("after close", set, 20000);
	MUST(recv(fd, in, 10, 0));
	/* The child works with both. */
	child = MUST(fork());
	if (!child) {
		say_events("child", set, 20000);
		say_bytes("child", in, TRY(recv(fd, in, 10, 0)));
		TRY(send(fd, "from the child", 14, 0));
		/* A registration made by the child is everybody's. */
		watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, 2);
		_exit(5);
	}
	meet();
	waitpid(child, &status, 0);
	say_status("child", status);
	say_events("parent", set, 1000);
	meet();
	settle_readable(fd, 10);
	say_events("parent", set, 1000);
	say_bytes("parent", in, TRY(recv(fd, in, 10, 0)));
	/* The parent closes all; the child goes on alone. */
	child = MUST(fork());
	if (!child) {
		await(0);
		watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 3);
		say_events("alone", set, 20000);
		say_bytes("alone", in, TRY(recv(fd, in, 10, 0)));
		_exit(6);
	}
	close(fd);
	close(set);
	post(0);
	meet();
	waitpid(child, &status, 0);
	say_status("child", status);
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 0; i < 5; i++) {
		meet();
		nap_ms(30);
		send_all(fd, "0123456789", 10);
		if (i == 2)
			say_bytes("in", in, TRY(recv(fd, in, 14, MSG_WAITALL)));
	}
	TRY(recv(fd, in, 1, 0));
}
