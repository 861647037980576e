/* Children that no fork handler announces: _Fork, the system calls fork and clone, libc's clone; made before the
 * connection moves, and after it. The child talks first, then the parent again. */
#include "case.h"

enum { WAYS = 4 };
static int fd;

static void talk(const char *who)
{
	char message[64];
	for (int trip = 0; trip < 50; trip++) {
		memset(message, trip, sizeof message);
		send_all(fd, message, sizeof message);
		recv_all(fd, message, sizeof message);
		CHECK(message[0] == trip && message[63] == trip);
	}
	say("%s talked", who);
}

static int child(void *flag)
{
	await((intptr_t)flag);
	talk("child");
	close(fd);
	_exit(0);
}

static pid_t forked(int way, void *flag)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	if (way == 3)
		return MUST(clone(child, stack + sizeof stack, SIGCHLD, flag));
	pid_t pid = way == 0   ? _Fork()
		    : way == 1 ? syscall(SYS_fork)
			       : syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (!pid)
		child(flag);
	return MUST(pid);
}

void alice(void)
{
	for (int way = 0; way < WAYS * 2; way++) {
		bool early = way < WAYS;
		void *flag = (void *)(intptr_t)way;
		int status;
		fd = early ? joined() : pair_up();
		pid_t pid = forked(way % WAYS, flag);
		talk("parent");
		post(way);
		waitpid(pid, &status, 0);
		say_status("child", status);
		talk("parent");
		close(fd);
	}
}

void bob(void)
{
	char message[64];
	for (int way = 0; way < WAYS * 2; way++) {
		fd = way < WAYS ? joined() : pair_up();
		long got, sum = 0;
		while ((got = MUST(recv(fd, message, sizeof message, MSG_WAITALL))) == sizeof message) {
			send_all(fd, message, sizeof message);
			sum += got;
		}
		say("%ld bytes, then %ld", sum, got);
		close(fd);
	}
}
