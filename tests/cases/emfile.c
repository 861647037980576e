/* A full table of descriptors: waiting, receiving and registering need none. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	struct rlimit limit = {64, 64};
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	while (dup(0) >= 0)
		;
	say("full: %s", errno_name(errno));
	struct pollfd one = {fd, POLLIN, 0};
	fd_set read;
	FD_ZERO(&read);
	FD_SET(fd, &read);
	meet();
	TRY(poll(&one, 1, 10000));
	say_bytes("poll", in, TRY(recv(fd, in, 10, 0)));
	meet();
	TRY(select(fd + 1, &read, NULL, NULL, NULL));
	say_bytes("select", in, TRY(recv(fd, in, 10, 0)));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	meet();
	say_events("set", set, 10000);
	say_bytes("set", in, TRY(recv(fd, in, 10, 0)));
	meet();
	say_bytes("asleep", in, TRY(recv(fd, in, 10, 0)));
	TRY(send(fd, "answer", 6, 0));
	TRY(socket(AF_INET, SOCK_STREAM, 0));
	TRY(dup(fd));
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 0; i < 4; i++) {
		meet();
		settle_asleep(peer_pid());
		TRY(send(fd, "0123456789", 10, 0));
	}
	say_rest(fd);
}
