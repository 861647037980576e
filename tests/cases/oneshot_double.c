/* Two registrations with the same data, one of them one-shot: it moves while a thread waits and the other one is told of, and is
 * told of later all the same. */
#include "case.h"

static char in[100];
static int set, pipes[2], cpus[2];
static _Atomic pid_t tid;
static _Atomic int count;
static _Atomic bool stop;

/* Keeps the waiter from its CPU. */
static void *busy(void *unused)
{
	(void)unused;
	pin_to(cpus[0]);
	while (!stop)
		;
	return NULL;
}

static void *waits(void *unused)
{
	(void)unused;
	struct epoll_event events[4];
	pin_to(cpus[0]);
	MUST(sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}));
	tid = gettid();
	count = epoll_wait(set, events, 4, 5000);
	return NULL;
}

void alice(void)
{
	cpu_set_t all;
	MUST(sched_getaffinity(0, sizeof all, &all));
	for (int cpu = 0, n = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (CPU_ISSET(cpu, &all))
			cpus[n++] = cpus[1] = cpu;
	pin_to(cpus[1]);
	int fd = joined();
	set = MUST(epoll_create1(EPOLL_CLOEXEC));
	MUST(pipe(pipes));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 7);
	watch(set, EPOLL_CTL_ADD, pipes[0], EPOLLIN, 7);
	pthread_t waiter = thread(waits, NULL);
	while (!tid)
		nap_ms(1);
	settle_asleep(tid);
	pthread_t hog = thread(busy, NULL);
	nap_ms(20);
	/* This wakes the waiter, which does not get to run; the connection moves meanwhile. */
	MUST(write(pipes[1], "p", 1));
	for (int i = 0; i < 40; i++) {
		MUST(send(fd, "x", 1, 0));
		nap_ms(2);
	}
	stop = true;
	pthread_join(waiter, NULL);
	pthread_join(hog, NULL);
	say("the waiter is told of something: %d", count > 0);
	MUST(read(pipes[0], in, 1));
	meet();
	settle_readable(fd, 4);
	say_events("the connection", set, 1000);
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = joined();
	for (int i = 0; i < 40; i++)
		MUST(recv(fd, in, 1, 0));
	meet();
	TRY(send(fd, "abcd", 4, 0));
	meet();
	TRY(close(fd));
}
