/* Connections come and go, moved and not, waited for in every way: round after round nothing grows. */
#include "case.h"

static void count(int *files, int *mappings)
{
	char line[512];
	FILE *file = fopen("/proc/self/maps", "r");
	*mappings = *files = 0;
	while (fgets(line, sizeof line, file))
		*mappings += 1;
	fclose(file);
	struct rlimit limit;
	MUST(getrlimit(RLIMIT_NOFILE, &limit));
	for (rlim_t i = 0; i < limit.rlim_cur; i++)
		*files += fcntl(i, F_GETFD) >= 0;
}

static void round_of(int connections)
{
	for (int i = 0; i < connections; i++) {
		int fd = i % 4 ? pair_up() : joined(), set = MUST(epoll_create1(EPOLL_CLOEXEC));
		struct pollfd one = {fd, POLLOUT, 0};
		struct epoll_event event;
		watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, i);
		CHECK(poll(&one, 1, -1) == 1);
		CHECK(epoll_wait(set, &event, 1, 0) == 0);
		meet();
		MUST(close(i % 2 ? set : fd));
		MUST(close(i % 2 ? fd : set));
		meet();
	}
}

static void rounds(void)
{
	struct rlimit limit = {1024, 1024};
	int files[3], mappings[3];
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	for (int i = 0; i < 3; i++) {
		round_of(24);
		count(&files[i], &mappings[i]);
	}
	/* A few come late: the allocator's, and those that a thread makes when it first has to wait. Each round has 24. */
	say("files grow: %d, mappings: %d", files[2] - files[0] > 8, mappings[2] - mappings[0] > 8);
}

void alice(void)
{
	rounds();
}

void bob(void)
{
	rounds();
}
