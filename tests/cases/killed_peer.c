/* The peer is killed by SIGKILL while this end sleeps in each of the calls, or has bytes unread. The peer is a child of
 * bob's, so that several can die. */
#include "case.h"

enum { WAYS = 7 };
static char data[1 << 20], in[1 << 16];

void alice(void)
{
	for (int way = 0; way < WAYS; way++) {
		int fd = pair_up();
		meet();
		struct pollfd one = {fd, POLLIN | POLLRDHUP, 0};
		switch (way) {
		case 0:
			say_bytes("before", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
			TRY(recv(fd, in, 10, 0));
			break;
		case 1:
			say_bytes("waitall", in, TRY(recv(fd, in, 100, MSG_WAITALL)));
			TRY(recv(fd, in, 10, 0));
			break;
		case 2: {
			/* More than the buffers take: it dies with bytes unread, a reset. */
			long sent;
			while ((sent = send(fd, data, sizeof data, MSG_NOSIGNAL)) > 0)
				;
			say("send: %s", errno_name(errno));
			TRY(send(fd, data, 1, MSG_NOSIGNAL));
			break;
		}
		case 3:
			MUST(recv(fd, in, 10, MSG_WAITALL));
			TRY(poll(&one, 1, 20000));
			say_poll("poll", one.revents);
			break;
		case 4: {
			int set = MUST(epoll_create1(EPOLL_CLOEXEC));
			watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 1);
			MUST(recv(fd, in, 10, MSG_WAITALL));
			struct epoll_event event = {0};
			while (!(event.events & EPOLLRDHUP))
				CHECK(epoll_wait(set, &event, 1, 20000) == 1);
			say_epoll("epoll", event.events);
			close(set);
			break;
		}
		case 5:
			/* Only looks when all is over. */
			meet();
			settle_fin(fd);
			say_rest(fd);
			TRY(recv(fd, in, 10, 0));
			break;
		case 6: {
			/* Bytes of both sides unread: a reset after what was sent. */
			TRY(send(fd, "unread", 6, 0));
			meet();
			settle_reset(fd);
			say_rest(fd);
			TRY(recv(fd, in, 10, 0));
			break;
		}
		}
		if (way != 2 && way != 6) {
			TRY(send(fd, "x", 1, MSG_NOSIGNAL));
			settle_reset(fd);
			TRY(send(fd, "x", 1, MSG_NOSIGNAL));
		}
		TRY(close(fd));
		meet();
	}
}

void bob(void)
{
	for (int way = 0; way < WAYS; way++) {
		int status;
		pid_t child = MUST(fork());
		if (!child) {
			int fd = pair_up();
			post(way + 8);
			if (way != 2 && way != 6)
				send_all(fd, "0123456789", 10);
			if (way == 6) {
				send_all(fd, "0123456789", 10);
				settle_readable(fd, 6);
			}
			post(way);
			pause();
		}
		await(way + 8);
		meet();
		await(way);
		if (way < 5)
			settle_asleep(peer_pid());
		MUST(kill(child, SIGKILL));
		waitpid(child, &status, 0);
		say_status("child", status);
		if (way >= 5)
			meet();
		meet();
	}
}
