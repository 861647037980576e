/* Numbers of the program's own choice, high up: dup2, dup3 and F_DUPFD onto any of them, while connections are moved and
 * watched by poll and epoll; each number holds what the program put there, and can be closed. */
#include "case.h"

static char in[100];
static int fd, set;

static void work(const char *what)
{
	struct pollfd one = {fd, POLLIN, 0};
	meet();
	TRY(poll(&one, 1, 10000));
	say_bytes(what, in, TRY(recv(fd, in, 10, MSG_WAITALL)));
	meet();
	say_events(what, set, 10000);
	say_bytes(what, in, TRY(recv(fd, in, 10, MSG_WAITALL)));
	meet();
	/* Asleep in recv. */
	say_bytes(what, in, TRY(recv(fd, in, 10, MSG_WAITALL)));
	TRY(send(fd, "0123456789", 10, 0));
}

void alice(void)
{
	struct rlimit limit;
	MUST(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = 64;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	fd = pair_up();
	set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	work("before");
	int file = MUST(memfd_create("file", MFD_CLOEXEC));
	MUST(write(file, "0123456789", 10));
	for (int i = 40; i < 64; i++)
		CHECK((i % 2 ? dup2(file, i) : dup3(file, i, O_CLOEXEC)) == i);
	work("after");
	for (int i = 40; i < 64; i++) {
		struct stat is;
		MUST(fstat(i, &is));
		CHECK(is.st_size == 10 && (fcntl(i, F_GETFD) == (i % 2 ? 0 : FD_CLOEXEC)));
		CHECK(pread(i, in, 100, 0) == 10 && !memcmp(in, "0123456789", 10));
	}
	work("again");
	for (int i = 40; i < 64; i++)
		CHECK(close(i) == 0);
	TRY(close(40));
	/* The connection itself up there. */
	for (int i = 40; i < 64; i++)
		CHECK(dup2(fd, i) == i);
	work("copied");
	for (int i = 40; i < 64; i++)
		CHECK(close(i) == 0);
	work("closed");
	TRY(close(fd));
}

void bob(void)
{
	fd = pair_up();
	for (int i = 0; i < 5; i++) {
		for (int way = 0; way < 3; way++) {
			meet();
			settle_asleep(peer_pid());
			TRY(send(fd, "0123456789", 10, 0));
		}
		say_bytes("answer", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
	}
	TRY(recv(fd, in, 1, 0));
}
