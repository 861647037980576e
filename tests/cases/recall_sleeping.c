/* The peer wraps its end in stdio, which leaves the ring for good, while this end sleeps in each of the calls that wait;
 * what comes then comes by TCP. */
#include "case.h"

enum { WAYS = 5 };
static char in[100];

void alice(void)
{
	for (int way = 0; way < WAYS; way++) {
		int fd = pair_up(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
		struct pollfd one = {fd, POLLIN, 0};
		struct timeval timeout = {10, 0};
		fd_set read;
		watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
		switch (way) {
		case 1:
			MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
			break;
		case 2:
			TRY(poll(&one, 1, 10000));
			break;
		case 3:
			FD_ZERO(&read);
			FD_SET(fd, &read);
			TRY(select(fd + 1, &read, NULL, NULL, &timeout));
			break;
		case 4:
			say_events("set", set, 10000);
			break;
		}
		say_bytes("in", in, TRY(recv(fd, in, 8, MSG_WAITALL)));
		TRY(send(fd, "answer\n", 7, 0));
		close(set);
		close(fd);
	}
}

void bob(void)
{
	for (int way = 0; way < WAYS; way++) {
		int fd = pair_up();
		settle_asleep(peer_pid());
		FILE *file = fdopen(fd, "r+");
		settle_asleep(peer_pid());
		fputs("by stdio", file);
		TRY(fflush(file));
		CHECK(fgets(in, sizeof in, file));
		say("got %s", in);
		TRY(fclose(file));
	}
}
