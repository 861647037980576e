/* Reads of nothing, and readiness calls without patience, while there is nothing: which of them wait, which do not. */
#include "case.h"

static char in[100];
static volatile int handled;

static void handler(int number)
{
	(void)number;
	handled++;
}

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
	struct iovec part = {in, 0};
	TRY(read(fd, in, 0));
	TRY(readv(fd, &part, 1));
	TRY(readv(fd, &part, 0));
	set_nonblocking(fd, true);
	TRY(read(fd, in, 0));
	TRY(recv(fd, in, 0, 0));
	TRY(recv(fd, in, 0, MSG_PEEK));
	TRY(write(fd, in, 0));
	TRY(send(fd, in, 0, 0));
	/* No time at all, and a signal that only this wait lets through. */
	sigset_t blocked, open;
	sigemptyset(&open);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	on_signal(SIGUSR1, handler, 0);
	MUST(sigprocmask(SIG_BLOCK, &blocked, NULL));
	struct pollfd one = {fd, POLLIN, 0};
	struct timespec now = {0, 0};
	struct epoll_event event;
	fd_set reading;
	FD_ZERO(&reading);
	FD_SET(fd, &reading);
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	raise(SIGUSR1);
	TRY(ppoll(&one, 1, &now, &open));
	say("handled %d", handled);
	raise(SIGUSR1);
	TRY(pselect(fd + 1, &reading, NULL, NULL, &now, &open));
	say("handled %d", handled);
	raise(SIGUSR1);
	TRY(epoll_pwait(set, &event, 1, 0, &open));
	say("handled %d", handled);
	raise(SIGUSR1);
	TRY(epoll_pwait2(set, &event, 1, &now, &open));
	say("handled %d", handled);
	meet();
}

void bob(void)
{
	pair_up();
	meet();
}
