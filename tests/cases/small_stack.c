/* Calls on the smallest stacks: a thread's of PTHREAD_STACK_MIN, and a signal handler's of its own. */
#include "case.h"
#include <limits.h>

static int fd, set, pipes[2];
static char in[64];
static long results[8];

/* Without a word: the words need stack themselves. */
static void calls(void)
{
	struct epoll_event event;
	struct pollfd one = {fd, POLLIN, 0};
	struct timeval time = {0, 1000};
	fd_set reads;
	FD_ZERO(&reads);
	FD_SET(fd, &reads);
	results[0] = send(fd, "x", 1, 0);
	results[1] = splice(fd, NULL, pipes[1], NULL, 3, 0);
	results[2] = poll(&one, 1, 1000);
	results[3] = epoll_wait(set, &event, 1, 1000);
	results[4] = recv(fd, in, 2, MSG_WAITALL);
	results[5] = poll(&one, 1, 1);
	results[6] = select(fd + 1, &reads, NULL, NULL, &time);
	results[7] = epoll_wait(set, &event, 1, 1);
}

static void handler(int number)
{
	(void)number;
	calls();
}

static void *body(void *unused)
{
	calls();
	return unused;
}

static void *body_closes(void *unused)
{
	results[0] = close(fd);
	return unused;
}

static void run(void *(*body)(void *))
{
	pthread_attr_t attributes;
	pthread_t thread;
	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN) == 0);
	CHECK(pthread_create(&thread, &attributes, body, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
}

static void say_results(void)
{
	for (int i = 0; i < 8; i++)
		say("%ld", results[i]);
	memset(results, 0, sizeof results);
}

void alice(void)
{
	fd = pair_up();
	set = MUST(epoll_create1(0));
	watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 0);
	MUST(pipe(pipes));
	/* What a signal's frame takes, and a page and a half. */
	size_t size = sysconf(_SC_MINSIGSTKSZ) + 6144;
	char *stack = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(stack != MAP_FAILED);
	MUST(mprotect(stack, 4096, PROT_NONE));
	stack_t own = {.ss_sp = stack + 4096, .ss_size = size};
	MUST(sigaltstack(&own, NULL));
	on_signal(SIGUSR1, handler, SA_ONSTACK);
	meet();
	settle_readable(fd, 5);
	run(body);
	say_results();
	meet();
	meet();
	settle_readable(fd, 5);
	raise(SIGUSR1);
	say_results();
	meet();
	meet();
	settle_readable(fd, 5);
	run(body_closes);
	say("%ld", results[0]);
}

void bob(void)
{
	fd = pair_up();
	TRY(send(fd, "first", 5, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
	meet();
	TRY(send(fd, "other", 5, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
	meet();
	TRY(send(fd, "third", 5, 0));
	meet();
	settle_reset(fd);
	TRY(recv(fd, in, 1, 0));
}
