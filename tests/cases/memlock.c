/* mlockall where only little may be locked: it counts all address space. Arrays longer than a thread has room for. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up();
	pid_t child = MUST(fork());
	if (child == 0) {
		struct rlimit limit = {8 << 20, 8 << 20};
		MUST(setrlimit(RLIMIT_MEMLOCK, &limit));
		/* Root may lock what it likes. */
		if (geteuid() == 0)
			MUST(setuid(65534));
		TRY(mlockall(MCL_CURRENT));
		TRY(munlockall());
		_exit(0);
	}
	int status;
	MUST(waitpid(child, &status, 0));
	say_status("child", status);
	TRY(send(fd, "locked", 6, 0));
	meet();
	enum { MANY = 17000 };
	struct pollfd *polls = malloc(MANY * sizeof *polls);
	for (int i = 0; i < MANY; i++)
		polls[i] = (struct pollfd){-1, POLLIN, 0};
	polls[MANY - 1].fd = fd;
	TRY(poll(polls, MANY, 10));
	meet();
	settle_readable(fd, 1);
	TRY(poll(polls, MANY, 1000));
	TRY(recv(fd, in, 100, 0));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	recv_all(fd, in, 6);
	say_bytes("in", in, 6);
	meet();
	TRY(send(fd, "x", 1, 0));
	settle_fin(fd);
}
