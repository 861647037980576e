/* Sockets used by the destructors of a thread's keys, to the last round; what the thread leaves behind is nothing. */
#include "case.h"

enum { THREADS = 100 };

static int fd;
static pthread_key_t key;
static char in[100];

static void destructor(void *value)
{
	struct pollfd one = {fd, POLLIN, 0};
	CHECK(poll(&one, 1, 1) == 0);
	CHECK(recv(fd, in, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	long round = (long)value;
	if (round < 10)
		CHECK(pthread_setspecific(key, (void *)(round + 1)) == 0);
}

static void *body(void *unused)
{
	CHECK(pthread_setspecific(key, (void *)1) == 0);
	return unused;
}

static void *body_polls(void *unused)
{
	struct pollfd one = {fd, POLLIN, 0};
	CHECK(poll(&one, 1, 1) == 0);
	return body(unused);
}

static long address_space(void)
{
	long pages;
	FILE *file = fopen("/proc/self/statm", "r");
	CHECK(file && fscanf(file, "%ld", &pages) == 1);
	fclose(file);
	return pages;
}

static int descriptors(void)
{
	int count = 0;
	for (int i = 0; i < 20000; i++)
		count += fcntl(i, F_GETFD) >= 0;
	return count;
}

static void round_of(void *(*body)(void *))
{
	pthread_join(thread(body, NULL), NULL);
	long pages = address_space(), count = descriptors();
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread(body, NULL), NULL);
	say("more address space: %d, descriptors: %d", address_space() > pages + THREADS, descriptors() > count + 2);
}

void alice(void)
{
	fd = pair_up();
	CHECK(pthread_key_create(&key, destructor) == 0);
	round_of(body);
	round_of(body_polls);
	TRY(send(fd, "x", 1, 0));
	recv_all(fd, in, 1);
	meet();
}

void bob(void)
{
	fd = pair_up();
	recv_all(fd, in, 1);
	TRY(send(fd, "x", 1, 0));
	meet();
}
