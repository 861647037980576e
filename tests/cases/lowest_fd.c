/* The lowest free descriptor, always: the shim's own are out of the way, whatever it has made meanwhile. */
#include "case.h"
#include <dirent.h>

static void say_open(const char *what)
{
	char line[300] = "";
	for (int i = 0; i < 100; i++)
		if (fcntl(i, F_GETFD) >= 0)
			sprintf(line + strlen(line), " %d", i);
	say("%s:%s", what, line);
}

void alice(void)
{
	say_open("start");
	int a = pair_up();
	say_open("moved");
	int b = joined(), c = open("/dev/null", O_RDONLY), pipes[2];
	MUST(pipe(pipes));
	warm(b);
	say_open("more");
	close(a);
	say_open("one closed");
	int set = epoll_create1(0), event = eventfd(0, 0);
	watch(set, EPOLL_CTL_ADD, b, EPOLLIN, 0);
	say_events("quiet", set, 20);
	say_open("a set");
	close(b);
	close(c);
	a = pair_up();
	say_open("again");
	close(a);
	close(set);
	close(event);
	close(pipes[0]);
	close(pipes[1]);
	say_open("all closed");
	/* Standard descriptors closed: the next takes 0, and stays on TCP, for libc's stdio may be after it. */
	close(0);
	a = joined();
	trickle(a);
	say_open("zero");
	TRY(write(a, "x", 1));
	MUST(dup2(open("/dev/null", O_RDWR), a));
	/* A tight limit is the program's own to see. */
	struct rlimit limit;
	MUST(getrlimit(RLIMIT_NOFILE, &limit));
	rlim_t hard = limit.rlim_max;
	limit.rlim_cur = 20;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	MUST(getrlimit(RLIMIT_NOFILE, &limit));
	say("limit %lu, hard as before %d", (unsigned long)limit.rlim_cur, limit.rlim_max == hard);
	a = pair_up();
	int highest = -1, fd;
	while ((fd = dup(a)) >= 0)
		highest = fd;
	say("highest %d, then %s", highest, errno_name(errno));
	TRY(socket(AF_INET, SOCK_STREAM, 0));
	TRY(write(a, "x", 1));
}

void bob(void)
{
	char in;
	int a = pair_up(), b = joined();
	warm(b);
	TRY(recv(a, &in, 1, 0));
	TRY(recv(b, &in, 1, 0));
	close(a);
	close(b);
	for (int i = 0; i < 3; i++) {
		a = joined();
		if (i == 1)
			trickle(a);
		else
			warm(a);
		say_rest(a);
		close(a);
	}
}
