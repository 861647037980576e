/* What a peer recalls, more than TCP takes at once, goes on being sent while its sender waits in poll, select or epoll. */
#include "case.h"

enum { MUCH = 150000 };
static char data[MUCH], in[MUCH];

/* The peer's answer comes when it has all of it. */
static void wait_for_answer(int how, int fd)
{
	if (how == 0) {
		struct pollfd p = {fd, POLLIN, 0};
		TRY(poll(&p, 1, 5000));
		return;
	}
	if (how == 1) {
		struct timeval limit = {5, 0};
		fd_set set;
		FD_ZERO(&set);
		FD_SET(fd, &set);
		TRY(select(fd + 1, &set, NULL, NULL, &limit));
		return;
	}
	int set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	say_events("epoll", set, 5000);
	MUST(close(set));
}

void alice(void)
{
	for (int how = 0; how < 3; how++) {
		int fd = pair_up(), small = 4096;
		MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
		meet();
		fill(data, MUCH, 1, 0);
		TRY(send(fd, data, MUCH, 0));
		wait_for_answer(how, fd);
		post(how);
		TRY(recv(fd, in, 2, MSG_DONTWAIT));
		TRY(close(fd));
	}
}

void bob(void)
{
	for (int how = 0; how < 3; how++) {
		int fd = pair_up();
		meet();
		settle_readable(fd, 4000);
		nap_ms(100);
		FILE *file = fdopen(fd, "r+");
		CHECK(file);
		setvbuf(file, NULL, _IONBF, 0);
		TRY(fread(in, 1, MUCH, file));
		say("right: %d", is_fill(in, MUCH, 1, 0));
		TRY(fwrite("ok", 1, 2, file));
		await(how);
		TRY(fclose(file));
	}
}
