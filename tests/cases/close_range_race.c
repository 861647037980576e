/* close_range of one socket closes nothing that another thread opens at the same time. */
#include "case.h"

static atomic_bool over;

static void *opener(void *unused)
{
	(void)unused;
	long lost = 0;
	while (!over) {
		int fd = MUST(eventfd(0, EFD_CLOEXEC));
		sched_yield();
		lost += fcntl(fd, F_GETFD) < 0;
		lost += close(fd) < 0;
	}
	say("lost %ld", lost);
	return NULL;
}

void alice(void)
{
	pthread_t other = thread(opener, NULL);
	for (int i = 0; i < 3000; i++) {
		int fd = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
		MUST(close_range(fd, fd, 0));
	}
	over = true;
	pthread_join(other, NULL);
}

void bob(void)
{
}
