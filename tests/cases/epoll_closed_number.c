/* An epoll set is closed while a thread waits in it: the thread hears of neither that nor the set that has the number next. */
#include "case.h"

static char in[100];
static int set;
static _Atomic pid_t tid;
static int told, error;
static struct epoll_event event;

static void *waits(void *unused)
{
	(void)unused;
	tid = gettid();
	told = epoll_wait(set, &event, 1, 600);
	error = errno;
	return NULL;
}

static void one(bool reused)
{
	int fd = pair_up();
	set = MUST(epoll_create1(EPOLL_CLOEXEC));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 7);
	meet();
	settle_readable(fd, 4);
	say_events("first", set, 1000);
	MUST(recv(fd, in, 100, 0));
	tid = 0;
	pthread_t waiter = thread(waits, NULL);
	while (!tid)
		nap_ms(1);
	settle_asleep(tid);
	int number = set;
	MUST(close(set));
	if (reused) {
		int next = MUST(epoll_create1(EPOLL_CLOEXEC)), bell = MUST(eventfd(0, 0));
		CHECK(next == number);
		watch(next, EPOLL_CTL_ADD, bell, EPOLLIN | EPOLLET, 9);
		meet();
		nap_ms(100);
		MUST(write(bell, &(uint64_t){1}, 8));
		nap_ms(100);
		say_events("the next set", next, 200);
		MUST(close(bell));
		MUST(close(next));
	} else {
		meet();
	}
	pthread_join(waiter, NULL);
	if (told < 0)
		say("waiter: %s", errno_name(error));
	else
		say("waiter: %d, data %lu", told, told ? (unsigned long)event.data.u64 : 0);
	settle_readable(fd, 4);
	MUST(recv(fd, in, 100, 0));
	meet();
	TRY(close(fd));
}

void alice(void)
{
	one(false);
	one(true);
}

void bob(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		TRY(send(fd, "abcd", 4, 0));
		meet();
		meet();
		/* The waiter, whose registration has fired, is woken for nothing. */
		nap_ms(30);
		TRY(send(fd, "efgh", 4, 0));
		meet();
		TRY(close(fd));
	}
}
