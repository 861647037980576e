/* A handler that leaves a call by siglongjmp, then a close: the end goes out at once, though the call never returned. From
 * each of the calls that block, on the thread's own stack and on a signal stack. */
#include "case.h"

enum { WAYS = 6 };
static sigjmp_buf back;
static char in[100];

static void jump(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

static void block(int way, int fd, int set)
{
	struct pollfd one = {fd, POLLIN, 0};
	struct epoll_event event;
	fd_set read;
	switch (way) {
	case 0:
	case 5:
		recv(fd, in, 10, 0);
		break;
	case 1:
		recv(fd, in, 10, MSG_WAITALL);
		break;
	case 2:
		poll(&one, 1, -1);
		break;
	case 3:
		FD_ZERO(&read);
		FD_SET(fd, &read);
		select(fd + 1, &read, NULL, NULL, NULL);
		break;
	case 4:
		epoll_wait(set, &event, 1, -1);
		break;
	}
	say("came back");
}

void alice(void)
{
	static char stack[1 << 16];
	stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
	MUST(sigaltstack(&other, NULL));
	for (volatile int way = 0; way < WAYS; way++) {
		volatile int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
		watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
		on_signal(SIGUSR1, jump, way == 5 ? SA_ONSTACK : 0);
		meet();
		for (volatile int round = 0; round < 3; round++)
			if (!sigsetjmp(back, 1))
				block(way, fd, set);
			else
				say("jumped");
		TRY(send(fd, "still there", 11, 0));
		meet();
		close(fd);
		close(set);
		meet();
	}
}

void bob(void)
{
	for (int way = 0; way < WAYS; way++) {
		int fd = pair_up();
		meet();
		for (int round = 0; round < 3; round++) {
			settle_asleep(peer_pid());
			MUST(kill(peer_pid(), SIGUSR1));
		}
		say_bytes("in", in, TRY(recv(fd, in, 11, MSG_WAITALL)));
		meet();
		TRY(recv(fd, in, 1, 0));
		close(fd);
		meet();
	}
}
