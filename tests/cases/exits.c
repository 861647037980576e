/* Every way to end a process with bytes unread: the peer sees the reset that the kernel would send. */
#include "case.h"

enum { WAYS = 5 };
static char in[100];

static void leave(int way)
{
	switch (way) {
	case 0:
		exit(0);
	case 1:
		_exit(0);
	case 2:
		quick_exit(0);
	case 3:
		syscall(SYS_exit_group, 0);
		break;
	case 4:
		/* A thread's end first: the system call exit ends only the thread. */
		syscall(SYS_exit, 0);
		break;
	}
}

void alice(void)
{
	int status;
	for (int way = 0; way < WAYS; way++) {
		pid_t child = MUST(fork());
		if (!child) {
			int fd = pair_up();
			meet();
			settle_readable(fd, 6);
			leave(way);
		}
		waitpid(child, &status, 0);
		say_status("child", status);
		meet();
	}
}

void bob(void)
{
	for (int way = 0; way < WAYS; way++) {
		int fd = pair_up();
		send_all(fd, "unread", 6);
		meet();
		meet();
		settle_reset(fd);
		TRY(recv(fd, in, 1, 0));
		TRY(recv(fd, in, 1, 0));
		close(fd);
	}
}
