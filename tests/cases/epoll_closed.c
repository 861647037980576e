/* A registration is one of a socket under a number: it lives on when the number is closed while a dup of the socket lives,
 * and is out of reach then, also of whoever has the number next. */
#include "case.h"

static char in[100];

/* Registered under two numbers, which are both closed; the first is taken by `taker`. Reached through the result only. */
static int orphan(int set, int fd, int *taker)
{
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	int high = MUST(fcntl(fd, F_DUPFD_CLOEXEC, 200)), second = MUST(fcntl(fd, F_DUPFD_CLOEXEC, 210));
	watch(set, EPOLL_CTL_ADD, second, EPOLLIN, 2);
	MUST(close(fd));
	*taker = MUST(eventfd(0, EFD_NONBLOCK));
	CHECK(*taker == fd);
	int pipes[2];
	MUST(pipe(pipes));
	MUST(dup2(pipes[0], second));
	MUST(close(pipes[0]));
	MUST(close(pipes[1]));
	return high;
}

/* Goes on over TCP, perhaps with bytes that came before. */
static void moved(bool early, bool unread)
{
	say("%s, %s", early ? "early" : "late", unread ? "unread" : "read");
	int set = MUST(epoll_create1(EPOLL_CLOEXEC)), event, high;
	if (early) {
		int fd = joined();
		struct epoll_event one = {EPOLLIN, {.u64 = 7}};
		MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &one));
		warm(fd);
		MUST(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
		high = orphan(set, fd, &event);
	} else {
		high = orphan(set, pair_up(), &event);
	}
	say_events("first", set, 100);
	meet();
	settle_readable(high, 10);
	say_events("data", set, 1000);
	struct epoll_event one = {EPOLLIN, {.u64 = 3}};
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, event, &one));
	TRY(epoll_ctl(set, EPOLL_CTL_DEL, event, &one));
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, high, &one));
	if (!unread)
		TRY(recv(high, in, 10, 0));
	/* Only TCP knows signals. */
	MUST(fcntl(high, F_SETOWN, 0));
	if (unread) {
		TRY(recv(high, in, 4, 0));
		say_events("part", set, 1000);
		TRY(recv(high, in, 6, 0));
	}
	uint64_t sum = 1;
	MUST(write(event, &sum, sizeof sum));
	say_events("nothing", set, 50);
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, event, &one));
	say_events("the number's new owner", set, 1000);
	MUST(read(event, &sum, sizeof sum));
	meet();
	settle_readable(high, 10);
	say_events("again", set, 1000);
	TRY(recv(high, in, 10, 0));
	one.data.u64 = 4;
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, event, &one));
	MUST(write(event, &sum, sizeof sum));
	say_events("the new owner", set, 1000);
	MUST(read(event, &sum, sizeof sum));
	meet();
	settle_fin(high);
	say_events("end", set, 1000);
	TRY(close(high));
	say_events("closed", set, 50);
	MUST(write(event, &sum, sizeof sum));
	say_events("the new owner stays", set, 1000);
	close(event);
	close(210);
	close(set);
}

/* Closed before the connection could move: the kernel serves it, and whoever has its number. */
static void unmoved(void)
{
	say("unmoved");
	int set = MUST(epoll_create1(EPOLL_CLOEXEC)), fd = joined();
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	int high = MUST(fcntl(fd, F_DUPFD_CLOEXEC, 200));
	MUST(close(fd));
	int event = MUST(eventfd(1, EFD_NONBLOCK));
	CHECK(event == fd);
	watch(set, EPOLL_CTL_ADD, event, EPOLLIN, 2);
	trickle(high);
	say_events("the number's new owner", set, 1000);
	struct epoll_event one = {EPOLLIN, {.u64 = 3}};
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, event, &one));
	meet();
	settle_readable(high, 10);
	say_events("both", set, 1000);
	TRY(recv(high, in, 10, 0));
	say_events("one", set, 1000);
	close(high);
	close(event);
	close(set);
	meet();
}

/* The number goes to another connection, in the same set. */
static void succeeded(void)
{
	say("succeeded");
	int set = MUST(epoll_create1(EPOLL_CLOEXEC)), fd = pair_up();
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	int high = MUST(fcntl(fd, F_DUPFD_CLOEXEC, 200));
	MUST(close(fd));
	int next = pair_up();
	CHECK(next == fd);
	struct epoll_event one = {EPOLLIN, {.u64 = 2}};
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, next, &one));
	watch(set, EPOLL_CTL_ADD, next, EPOLLIN, 2);
	meet();
	settle_readable(high, 10);
	settle_readable(next, 10);
	say_events("both", set, 1000);
	TRY(recv(high, in, 10, 0));
	say_events("one", set, 1000);
	TRY(recv(next, in, 10, 0));
	TRY(close(high));
	say_events("none", set, 50);
	for (int i = 0; i < 3; i++) {
		meet();
		say_events("by sendfile", set, 20000);
		TRY(recv(next, in, 10, 0));
		say_events("none", set, 20);
	}
	meet();
	say_events("end", set, 20000);
	close(next);
	close(set);
}

/* The number is the socket's again: so is the registration. */
static void returned(bool early)
{
	say("returned");
	int set = MUST(epoll_create1(EPOLL_CLOEXEC)), fd = early ? joined() : pair_up();
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	int high = MUST(fcntl(fd, F_DUPFD_CLOEXEC, 200));
	MUST(close(fd));
	MUST(dup2(high, fd));
	MUST(close(high));
	if (early)
		warm(fd);
	struct epoll_event one = {EPOLLIN, {.u64 = 2}};
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &one));
	TRY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &one));
	meet();
	settle_readable(fd, 10);
	say_events("data", set, 1000);
	TRY(recv(fd, in, 10, 0));
	TRY(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
	TRY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &one));
	say_events("nothing", set, 50);
	meet();
	close(fd);
	close(set);
}

void alice(void)
{
	for (int i = 0; i < 4; i++)
		moved(i & 1, i & 2);
	for (int i = 0; i < 2; i++)
		returned(i);
	unmoved();
	succeeded();
}

void bob(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = pair_up();
		meet();
		send_all(fd, "0123456789", 10);
		meet();
		send_all(fd, "0123456789", 10);
		meet();
		TRY(shutdown(fd, SHUT_WR));
		TRY(recv(fd, in, 1, 0));
		TRY(close(fd));
	}
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		meet();
		send_all(fd, "0123456789", 10);
		meet();
		close(fd);
	}
	int fd = joined();
	trickle(fd);
	meet();
	send_all(fd, "0123456789", 10);
	meet();
	close(fd);
	fd = pair_up();
	int next = pair_up();
	meet();
	send_all(fd, "0123456789", 10);
	send_all(next, "0123456789", 10);
	TRY(recv(fd, in, 1, 0));
	int file = MUST(memfd_create("file", 0));
	MUST(write(file, "x", 1));
	for (int i = 0; i < 3; i++) {
		meet();
		off_t at = 0;
		MUST(sendfile(next, file, &at, 1));
	}
	meet();
	close(next);
	close(fd);
}
