/* A moved connection beside kernel descriptors in one set: all are seen, none is starved; time-outs hold. */
#include "case.h"
#include <sys/signalfd.h>

static char in[100];

void alice(void)
{
	int fd = pair_up(), set = MUST(epoll_create1(0)), pipes[2];
	MUST(pipe(pipes));
	int event = MUST(eventfd(0, EFD_NONBLOCK)), timer = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	sigset_t block;
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	MUST(sigprocmask(SIG_BLOCK, &block, NULL));
	int signals = MUST(signalfd(-1, &block, SFD_NONBLOCK));
	int plain = joined(); /* not moved */
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	watch(set, EPOLL_CTL_ADD, pipes[0], EPOLLIN, 2);
	watch(set, EPOLL_CTL_ADD, event, EPOLLIN, 3);
	watch(set, EPOLL_CTL_ADD, timer, EPOLLIN, 4);
	watch(set, EPOLL_CTL_ADD, signals, EPOLLIN, 5);
	watch(set, EPOLL_CTL_ADD, plain, EPOLLIN, 6);
	say_events("quiet", set, 50);
	meet();
	meet();
	settle_readable(fd, 10);
	MUST(write(pipes[1], "x", 1));
	uint64_t one = 1;
	MUST(write(event, &one, 8));
	struct itimerspec soon = {.it_value.tv_nsec = 1};
	MUST(timerfd_settime(timer, 0, &soon, NULL));
	raise(SIGUSR1);
	settle_readable(plain, 5);
	nap_ms(5);
	say_events("all", set, 1000);
	/* A busy connection must not hide the others. */
	MUST(read(pipes[0], in, 1));
	MUST(read(event, &one, 8));
	MUST(read(timer, &one, 8));
	say_events("three", set, 1000);
	struct epoll_event found;
	bool seen = false;
	MUST(write(pipes[1], "x", 1));
	for (int i = 0; i < 20 && !seen; i++) {
		CHECK(epoll_wait(set, &found, 1, 1000) == 1);
		seen = found.data.u64 == 2;
	}
	say("pipe seen %d", seen);
	MUST(epoll_ctl(set, EPOLL_CTL_DEL, signals, NULL));
	MUST(read(pipes[0], in, 1));
	MUST(recv(fd, in, 10, 0));
	MUST(recv(plain, in, 10, 0));
	/* Each alone wakes the sleeper. */
	meet();
	say_events("connection", set, 20000);
	MUST(recv(fd, in, 10, 0));
	meet();
	say_events("plain connection", set, 20000);
	MUST(recv(plain, in, 10, 0));
	soon.it_value.tv_nsec = 100000000;
	MUST(timerfd_settime(timer, 0, &soon, NULL));
	say_events("timer", set, 20000);
	MUST(read(timer, &one, 8));
	/* Time-outs. */
	struct timespec times[4] = {{0, 0}, {0, 200000}, {0, 1500000}, {0, 120000000}};
	for (int i = 0; i < 4; i++) {
		struct timespec before, after;
		clock_gettime(CLOCK_MONOTONIC, &before);
		TRY(epoll_pwait2(set, &found, 1, &times[i], NULL));
		clock_gettime(CLOCK_MONOTONIC, &after);
		long took = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
		say("not early %d", took >= times[i].tv_nsec);
	}
	meet();
}

void bob(void)
{
	int fd = pair_up(), plain = joined();
	meet();
	send_all(plain, "plain", 5);
	send_all(fd, "0123456789", 10);
	meet();
	meet();
	settle_asleep(peer_pid());
	send_all(fd, "0123456789", 10);
	meet();
	settle_asleep(peer_pid());
	send_all(plain, "plain", 5);
	meet();
}
