/* A dup2 that fails leaves the descriptor that it would have replaced as it is. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up(), high = MUST(fcntl(fd, F_DUPFD_CLOEXEC, 100));
	MUST(close(fd));
	int other = MUST(open("/dev/null", O_RDWR));
	struct rlimit limit, low;
	MUST(getrlimit(RLIMIT_NOFILE, &limit));
	low = limit;
	low.rlim_cur = 50;
	MUST(setrlimit(RLIMIT_NOFILE, &low));
	TRY(dup2(other, high) < 0);
	TRY(dup3(other, high, O_CLOEXEC) < 0);
	TRY(dup2(99, high) < 0);
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	TRY(dup3(other, high, 1) < 0);
	meet();
	recv_all(high, in, 5);
	say_bytes("in", in, 5);
	TRY(send(high, "world", 5, 0));
	meet();
	TRY(dup2(other, high) == high);
}

void bob(void)
{
	int fd = pair_up();
	meet();
	TRY(send(fd, "hello", 5, 0));
	recv_all(fd, in, 5);
	say_bytes("in", in, 5);
	meet();
	settle_fin(fd);
	TRY(recv(fd, in, 1, 0));
}
