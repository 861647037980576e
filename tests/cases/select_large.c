/* select of as many descriptors as there may be, with an ordinary set: the kernel looks no further than its table of
 * descriptors, which a program with few keeps small. */
#include "case.h"

static struct {
	fd_set set;
	unsigned char behind[4096];
} large;

static void look(const char *what, int fd, int count)
{
	memset(&large, 0x55, sizeof large);
	FD_ZERO(&large.set);
	FD_SET(fd, &large.set);
	struct timeval time = {0, 1000};
	say("%s", what);
	TRY(select(count, &large.set, NULL, NULL, &time));
	say("read %d", !!FD_ISSET(fd, &large.set));
	FD_SET(fd, &large.set);
	struct timespec brief = {0, 1000000};
	TRY(pselect(count, &large.set, NULL, NULL, &brief, NULL));
	say("read %d", !!FD_ISSET(fd, &large.set));
	for (size_t i = 0; i < sizeof large.behind; i++)
		CHECK(large.behind[i] == 0x55);
}

void alice(void)
{
	struct rlimit limit;
	MUST(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max < 20000 ? limit.rlim_max : 20000;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	int fd = pair_up(), pipes[2], most = getdtablesize();
	CHECK(most >= 4096);
	/* As a sleeper, too, which may need descriptors of the library's own. */
	struct pollfd one = {fd, POLLIN, 0};
	TRY(poll(&one, 1, 20));
	MUST(pipe(pipes));
	look("pipe", pipes[0], most);
	look("connection", fd, most);
	write(pipes[1], "x", 1);
	meet();
	settle_readable(fd, 10);
	look("pipe", pipes[0], most);
	look("connection", fd, most);
	look("a million", fd, 1 << 20);
	look("all", fd, INT32_MAX);
	/* Beyond an ordinary set. */
	int high = MUST(fcntl(fd, F_DUPFD, 3000));
	fd_set *set = calloc(1, 8192);
	__extension__ unsigned long *words = (void *)set;
	words[high / 64] |= 1ul << high % 64;
	TRY(select(most, set, NULL, NULL, NULL));
	say("read %d", words[high / 64] == 1ul << high % 64);
	MUST(close(high));
	TRY(select(most, set, NULL, NULL, NULL));
	meet();
	close(fd);
}

void bob(void)
{
	int fd = pair_up();
	meet();
	send_all(fd, "0123456789", 10);
	meet();
	close(fd);
}
