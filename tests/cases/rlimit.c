/* A program that lowers RLIMIT_NOFILE below what it has open, as sandboxes do: what is open stays usable. */
#include "case.h"

static char in[100];

static void lower(rlim_t to)
{
	struct rlimit limit = {to, to}, seen;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	MUST(getrlimit(RLIMIT_NOFILE, &seen));
	say("limit %lu %lu, table %d, sysconf %ld", (long)seen.rlim_cur, (long)seen.rlim_max, getdtablesize(),
	    sysconf(_SC_OPEN_MAX));
}

void alice(void)
{
	int fd = pair_up(), second = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	lower(fd + 20);
	say_bytes("early", in, TRY(recv(second, in, 5, MSG_WAITALL)));
	lower(1);
	/* One descriptor is as many as poll takes now. */
	struct pollfd two[2] = {{fd, POLLIN, 0}, {second, POLLIN, 0}};
	TRY(poll(two, 1, 0));
	TRY(poll(two, 2, 0));
	meet();
	TRY(poll(two, 1, 10000));
	say_poll("polled", two[0].revents);
	say_bytes("in", in, TRY(recv(fd, in, 100, 0)));
	meet();
	/* Blocking, from TCP or from the ring. */
	say_bytes("in", in, TRY(recv(fd, in, 100, 0)));
	TRY(send(fd, "answer", 6, 0));
	fd_set read;
	FD_ZERO(&read);
	FD_SET(fd, &read);
	meet();
	TRY(select(fd + 1, &read, NULL, NULL, NULL));
	say_bytes("in", in, TRY(recv(fd, in, 100, 0)));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	meet();
	say_events("set", set, 10000);
	TRY(dup(fd));
	TRY(socket(AF_INET, SOCK_STREAM, 0));
	lower(0);
	TRY(poll(two, 1, 0));
	TRY(poll(two, 0, 0));
	say_bytes("in", in, TRY(recv(fd, in, 100, 0)));
	meet();
	say_bytes("last", in, TRY(recv(fd, in, 100, 0)));
	TRY(close(fd));
	TRY(close(second));
}

void bob(void)
{
	int fd = pair_up(), second = pair_up();
	TRY(send(second, "early", 5, 0));
	for (int i = 0; i < 4; i++) {
		meet();
		settle_asleep(peer_pid());
		TRY(send(fd, "0123456789", 10, 0));
		if (i == 1)
			say_bytes("in", in, TRY(recv(fd, in, 6, MSG_WAITALL)));
	}
	meet();
	settle_asleep(peer_pid());
	TRY(send(fd, "last", 4, 0));
	TRY(recv(fd, in, 1, 0));
	TRY(recv(second, in, 1, 0));
}
