/* SO_RCVLOWAT: readable, and awake, only from so many bytes on. */
#include "case.h"

static char in[4096];

void alice(void)
{
	int fd = pair_up();
	char data[1000];
	fill(data, sizeof data, 1, 0);
	send_all(fd, data, 50);
	meet();
	meet();
	send_all(fd, data + 50, 50);
	meet();
	/* A blocking receive that has taken a part sleeps for as many again in Linux: let it begin with nothing. */
	settle_asleep(peer_pid());
	for (int i = 0; i < 10; i++) {
		nap_ms(5);
		send_all(fd, data + 100 + i * 10, 10);
	}
	meet();
	send_all(fd, data, 20);
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up(), low = 100;
	socklen_t size = sizeof low;
	TRY(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, &size));
	say("low %d", low);
	low = 100;
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
	TRY(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, &size));
	say("low %d", low);
	int set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	struct pollfd one = {fd, POLLIN, 0};
	meet();
	settle_readable(fd, 50);
	TRY(poll(&one, 1, 100));
	say_events("50", set, 100);
	/* A nonblocking call takes it all the same. */
	say_bytes("peek", in, TRY(recv(fd, in, 200, MSG_DONTWAIT | MSG_PEEK)));
	meet();
	settle_readable(fd, 100);
	TRY(poll(&one, 1, 1000));
	say_poll("100", one.revents);
	say_events("100", set, 1000);
	say_bytes("take", in, TRY(recv(fd, in, 200, 0)));
	meet();
	/* A blocking call waits for as many. */
	say_bytes("blocking", in, TRY(recv(fd, in, 100, 0)));
	TRY(poll(&one, 1, 0));
	meet();
	/* The end is always readable. */
	settle_fin(fd);
	TRY(poll(&one, 1, 1000));
	say_events("end", set, 1000);
	say_bytes("rest", in, TRY(recv(fd, in, 100, 0)));
	TRY(recv(fd, in, 100, 0));
}
