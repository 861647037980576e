/* A signal in a blocking call: EINTR, or the call goes on with SA_RESTART, as signal(7) says for each. */
#include "case.h"

static char data[1 << 16];
static volatile int caught;

static void handler(int number)
{
	(void)number;
	caught++;
}

/* Bob interrupts alice each time she sleeps; where the call must go on he sends a byte after it. */
void bob(void)
{
	int fd = pair_up();
	for (int step = 0;; step++) {
		meet();
		long act = take(0);
		if (act == 'e')
			break;
		settle_asleep(peer_pid());
		MUST(kill(peer_pid(), SIGUSR1));
		if (act == 'r') {
			settle_asleep(peer_pid());
			send_all(fd, "r", 1);
		}
		meet();
		while (act == 'd' && recv(fd, data, sizeof data, MSG_DONTWAIT) > 0)
			nap_ms(1); /* drain what a full sender wrote */
	}
	say("done");
}

#define STEP(act, call)                                                                                                \
	do {                                                                                                           \
		give(0, act);                                                                                          \
		caught = 0;                                                                                            \
		meet();                                                                                                \
		TRY(call);                                                                                             \
		say("caught %d", caught);                                                                              \
		meet();                                                                                                \
	} while (0)

void alice(void)
{
	int fd = pair_up();
	struct iovec part = {data, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	struct pollfd one = {fd, POLLIN, 0};
	int set = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	struct epoll_event event;
	fd_set reading;
	struct timespec long_time = {100, 0};
	for (int restart = 0; restart < 2; restart++) {
		int act = restart ? 'r' : 'i';
		on_signal(SIGUSR1, handler, restart ? SA_RESTART : 0);
		say("restart %d", restart);
		STEP(act, recv(fd, data, 1, 0));
		STEP(act, read(fd, data, 1));
		STEP(act, readv(fd, &part, 1));
		STEP(act, recvfrom(fd, data, 1, 0, NULL, NULL));
		STEP(act, recvmsg(fd, &message, 0));
		STEP(act, recv(fd, data, 1, MSG_PEEK));
		if (restart)
			TRY(recv(fd, data, 1, 0));
		/* With a time-out of the socket nothing restarts. */
		struct timeval timeout = {100, 0};
		MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
		STEP('i', recv(fd, data, 1, 0));
		timeout.tv_sec = 0;
		MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
		/* Readiness calls never restart. */
		STEP('i', poll(&one, 1, -1));
		STEP('i', poll(&one, 1, 100000));
		STEP('i', ppoll(&one, 1, &long_time, NULL));
		FD_ZERO(&reading);
		FD_SET(fd, &reading);
		STEP('i', select(fd + 1, &reading, NULL, NULL, NULL));
		STEP('i', pselect(fd + 1, &reading, NULL, NULL, &long_time, NULL));
		STEP('i', epoll_wait(set, &event, 1, -1));
		STEP('i', epoll_pwait(set, &event, 1, 100000, NULL));
	}
	give(0, 'e');
	meet();
}
