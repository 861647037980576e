/* Echo servers that wait in each of the readiness calls, level and edge, with several connections: the switch happens
 * while they sleep, work, and sleep again. */
#include "case.h"

enum { CONNECTIONS = 5 };
static const char *const ways[] = {"poll",        "ppoll",           "select",     "pselect",
				   "epoll level", "epoll edge",      "epoll once", "epoll_pwait2",
				   "blocking peek, then read"};
enum { WAYS = sizeof ways / sizeof *ways };

/* Echoes until EAGAIN (or once); returns whether the connection lives. */
static bool echo(int fd, bool until_empty)
{
	char in[1000];
	for (;;) {
		long got = recv(fd, in, until_empty ? 100 : sizeof in, 0);
		if (got == 0)
			return false;
		if (got < 0) {
			CHECK(errno == EAGAIN);
			return true;
		}
		send_all(fd, in, got);
		if (!until_empty)
			return true;
	}
}

static void serve(int way)
{
	int fds[CONNECTIONS], alive = CONNECTIONS, set = MUST(epoll_create1(EPOLL_CLOEXEC));
	for (int i = 0; i < CONNECTIONS; i++) {
		fds[i] = joined();
		set_nonblocking(fds[i], way != 8);
		if (way >= 4)
			watch(set, EPOLL_CTL_ADD, fds[i],
			      EPOLLIN | EPOLLRDHUP | (way == 5 ? EPOLLET : 0) | (way == 6 ? EPOLLONESHOT : 0), i);
	}
	while (alive) {
		bool ready[CONNECTIONS] = {false};
		if (way < 2) {
			struct pollfd polled[CONNECTIONS];
			for (int i = 0; i < CONNECTIONS; i++)
				polled[i] = (struct pollfd){fds[i], POLLIN, 0};
			struct timespec time = {20, 0};
			CHECK((way ? ppoll(polled, CONNECTIONS, &time, NULL) : poll(polled, CONNECTIONS, 20000)) > 0);
			for (int i = 0; i < CONNECTIONS; i++)
				ready[i] = polled[i].revents & POLLIN;
		} else if (way < 4) {
			fd_set set;
			FD_ZERO(&set);
			for (int i = 0; i < CONNECTIONS; i++)
				if (fds[i] >= 0)
					FD_SET(fds[i], &set);
			struct timeval time = {20, 0};
			struct timespec time2 = {20, 0};
			CHECK((way == 2 ? select(FD_SETSIZE, &set, NULL, NULL, &time)
					: pselect(FD_SETSIZE, &set, NULL, NULL, &time2, NULL)) > 0);
			for (int i = 0; i < CONNECTIONS; i++)
				ready[i] = fds[i] >= 0 && FD_ISSET(fds[i], &set);
		} else {
			struct epoll_event events[2];
			struct timespec time = {20, 0};
			int found = way == 7 ? epoll_pwait2(set, events, 2, &time, NULL)
					     : epoll_wait(set, events, 2, 20000);
			CHECK(found > 0);
			for (int i = 0; i < found; i++)
				ready[events[i].data.u64] = events[i].events & EPOLLIN;
		}
		for (int i = 0; i < CONNECTIONS; i++) {
			if (!ready[i])
				continue;
			char peek;
			if (way == 8)
				MUST(recv(fds[i], &peek, 1, MSG_PEEK));
			if (!echo(fds[i], way == 5 || way == 6)) {
				close(fds[i]);
				fds[i] = -1;
				alive--;
			} else if (way == 6)
				watch(set, EPOLL_CTL_MOD, fds[i], EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, i);
		}
	}
	close(set);
	say("served: %s", ways[way]);
}

void alice(void)
{
	char out[3000], in[3000];
	for (int way = 0; way < WAYS; way++) {
		int fds[CONNECTIONS];
		for (int i = 0; i < CONNECTIONS; i++)
			fds[i] = joined();
		/* bob answers as in any warm-up. */
		for (int i = 0; i < CONNECTIONS; i++)
			warm(fds[i]);
		for (int round = 0; round < 20; round++)
			for (int i = 0; i < CONNECTIONS; i++) {
				size_t size = 1 + (round * 577 + i * 31) % sizeof out;
				fill(out, size, round * 8 + i, 0);
				send_all(fds[i], out, size);
				recv_all(fds[i], in, size);
				CHECK(!memcmp(in, out, size));
			}
		for (int i = 0; i < CONNECTIONS; i++) {
			shutdown(fds[i], SHUT_WR);
			CHECK(recv(fds[i], in, 1, 0) == 0);
			close(fds[i]);
		}
		say("used: %s", ways[way]);
	}
}

void bob(void)
{
	for (int way = 0; way < WAYS; way++)
		serve(way);
}
