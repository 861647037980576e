/* A sender that ends before its peer has read: what is unread is there once, whoever reads it, and however. */
#include "case.h"

static char in[100];

void again(int fd)
{
	say_rest(fd);
	TRY(send(fd, "from the child", 14, MSG_NOSIGNAL));
}

/* The connection's end as its peer sees it: bytes, then an end, not a reset. */
static void say_end(int fd)
{
	say_rest(fd);
	TRY(close(fd));
}

void alice(void)
{
	int there, status;
	/* Reads all, but not the end, and closes: no reset. */
	int fd = pair_up();
	meet();
	settle_fin(fd);
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
	say_bytes("peek", in, TRY(recv(fd, in, 100, MSG_PEEK)));
	TRY(recv(fd, in, 5, 0));
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
	say_bytes("peek", in, TRY(recv(fd, in, 100, MSG_PEEK)));
	say_bytes("rest", in, TRY(recv(fd, in, 15, MSG_WAITALL)));
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
	TRY(send(fd, "reply", 5, 0));
	TRY(close(fd));
	/* Sees the end by poll and epoll. */
	fd = pair_up();
	int set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP, 1);
	meet();
	settle_fin(fd);
	for (int i = 0; i < 3; i++) {
		struct pollfd one = {fd, POLLIN, 0};
		TRY(poll(&one, 1, 1000));
		say_poll("poll", one.revents);
		say_events("epoll", set, 1000);
		say_bytes("part", in, TRY(recv(fd, in, 10, 0)));
	}
	TRY(close(set));
	TRY(close(fd));
	/* Hands over to another image after some of it; the other end listens on. */
	for (int bare = 0; bare < 2; bare++) {
		fd = pair_up();
		meet();
		settle_fin(fd);
		TRY(recv(fd, in, 5, 0));
		pid_t child = MUST(fork());
		if (!child)
			exec_again(fd, bare);
		close(fd);
		waitpid(child, &status, 0);
		say_status("child", status);
	}
	/* Of a process that exits. */
	fd = pair_up();
	meet();
	settle_fin(fd);
	TRY(recv(fd, in, 5, 0));
	pid_t child = MUST(fork());
	if (!child)
		exec_again(fd, true);
	close(fd);
	waitpid(child, &status, 0);
	say_status("child", status);
}

void bob(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = pair_up();
		TRY(send(fd, "0123456789abcdefghij", 20, 0));
		TRY(shutdown(fd, SHUT_WR));
		meet();
		say_end(fd);
	}
	int fd = pair_up(), status;
	pid_t child = MUST(fork());
	if (!child) {
		TRY(send(fd, "0123456789abcdefghij", 20, 0));
		exit(0);
	}
	MUST(close(fd));
	waitpid(child, &status, 0);
	say_status("child", status);
	meet();
}
