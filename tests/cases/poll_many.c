/* poll of more entries than there are numbers of 16 bits, where that is allowed. */
#include "case.h"

static struct pollfd many[70000];

void alice(void)
{
	struct rlimit limit = {100000, 100000};
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
		/* As many as one may have. */
		MUST(getrlimit(RLIMIT_NOFILE, &limit));
		limit.rlim_cur = limit.rlim_max;
		MUST(setrlimit(RLIMIT_NOFILE, &limit));
	}
	int fd = pair_up(), count = limit.rlim_cur < 70000 ? (int)limit.rlim_cur : 70000;
	for (int i = 0; i < 70000; i++)
		many[i] = (struct pollfd){-1, POLLIN, 0};
	many[3].fd = many[count - 1].fd = fd;
	TRY(poll(many, 70000, 20));
	meet();
	TRY(poll(many, count, 20000));
	for (int i = 0; i < count; i++)
		if (many[i].revents)
			say("%d: %d", i, many[i].revents);
	meet();
	close(fd);
}

void bob(void)
{
	int fd = pair_up();
	meet();
	settle_asleep(peer_pid());
	send_all(fd, "0123456789", 10);
	meet();
	close(fd);
}
