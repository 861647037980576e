/* A child waits in its parent's epoll set beside it, while the parent takes on another connection there: the parent hears of all that
 * comes. */
#include "case.h"

enum { ROUNDS = 10 };
static char in[100];

void alice(void)
{
	int set = MUST(epoll_create1(EPOLL_CLOEXEC)), first = pair_up(), status, missed = 0;
	struct epoll_event event;
	watch(set, EPOLL_CTL_ADD, first, EPOLLIN, 1);
	say_events("nothing", set, 10);
	pid_t child = MUST(fork());
	if (!child) {
		MUST(close(first));
		post(2);
		while (!posted(3))
			epoll_wait(set, &event, 1, 1);
		_exit(0);
	}
	await(2);
	int fd = pair_up();
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 7);
	for (int i = 0; i < ROUNDS; i++) {
		meet();
		for (int j = 0; j < 20; j++)
			CHECK(epoll_wait(set, &event, 1, 1) == 0);
		meet();
		missed += MUST(epoll_wait(set, &event, 1, 500)) != 1;
		recv_all(fd, in, 4);
	}
	post(3);
	say("missed: %d", missed);
	MUST(waitpid(child, &status, 0));
	say_status("child", status);
	TRY(close(fd));
}

void bob(void)
{
	int first = pair_up(), fd = pair_up();
	for (int i = 0; i < ROUNDS; i++) {
		meet();
		meet();
		nap_ms(20);
		send_all(fd, "abcd", 4);
	}
	recv(fd, in, 1, 0);
	MUST(close(first));
}
