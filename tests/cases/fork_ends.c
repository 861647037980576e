/* Forked children that leave without a close: executed over, killed, not even waited for. After each the parent is the
 * connection's only holder: its close resets what is unread, and ends what is not; and what it had before may still move. */
#include "case.h"

enum { EXEC, KILLED, ABORTED, ZOMBIE, NO_EXEC, SPAWNED, DAEMON, WAYS };
static const char *names[] = {"exec", "killed", "aborted", "zombie", "no exec", "vfork", "daemon"};
static char in[100];

static void leave(int way)
{
	char *none[] = {NULL};
	switch (way) {
	case EXEC:
		execl("/bin/true", "true", NULL);
		break;
	case ABORTED:
		abort();
	case NO_EXEC:
		execve("/nowhere", none, none);
		execl("/nowhere", "nowhere", NULL);
		_exit(0);
	case DAEMON:
		/* The middle one ends inside libc. */
		daemon(1, 1);
		break;
	}
	raise(SIGKILL);
}

static void bear(int way)
{
	int status, ends[2];
	MUST(pipe(ends));
	pid_t child = way == SPAWNED ? vfork() : fork();
	if (!child && way == SPAWNED) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	if (!MUST(child)) {
		leave(way);
		_exit(1);
	}
	close(ends[1]);
	/* The daemon has it, too. */
	CHECK(read(ends[0], in, 1) == 0);
	close(ends[0]);
	if (way == ZOMBIE) {
		siginfo_t info;
		MUST(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
		return;
	}
	waitpid(child, &status, 0);
	say_status(names[way], status);
}

static void move_after(int way)
{
	int fd = joined();
	MUST(fcntl(fd, F_SETFD, FD_CLOEXEC));
	bear(way);
	if (way == ZOMBIE)
		wait(NULL);
	warm(fd);
	TRY(close(fd));
}

static void end_to_end(int way, bool unread)
{
	int fd = pair_up();
	MUST(fcntl(fd, F_SETFD, FD_CLOEXEC));
	bear(way);
	meet();
	if (unread)
		settle_readable(fd, 6);
	TRY(close(fd));
	if (way == ZOMBIE)
		wait(NULL);
	meet();
	meet();
}

void alice(void)
{
	struct rlimit none = {0, 0};
	MUST(setrlimit(RLIMIT_CORE, &none));
	for (int way = 0; way < WAYS; way++) {
		end_to_end(way, true);
		end_to_end(way, false);
		move_after(way);
	}
}

void bob(void)
{
	for (int i = 0; i < WAYS * 3; i++) {
		bool unread = i % 3 == 0;
		int fd = joined();
		warm(fd);
		if (i % 3 == 2) {
			TRY(recv(fd, in, 1, 0));
			close(fd);
			continue;
		}
		if (unread)
			send_all(fd, "unread", 6);
		meet();
		meet();
		if (unread) {
			settle_reset(fd);
			TRY(recv(fd, in, 1, 0));
		} else {
			settle_fin(fd);
			TRY(recv(fd, in, 1, 0));
			TRY(send(fd, "x", 1, MSG_NOSIGNAL));
			settle_reset(fd);
		}
		TRY(send(fd, "y", 1, MSG_NOSIGNAL));
		TRY(recv(fd, in, 1, 0));
		TRY(recv(fd, in, 1, MSG_DONTWAIT));
		meet();
		close(fd);
	}
}
