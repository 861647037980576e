/* A program without a free descriptor: its connections work on, and what the broker would hand it is refused in order. */
#include "case.h"

static void full(int fd)
{
	struct rlimit limit;
	MUST(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = 40;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	while (dup(fd) >= 0)
		;
	say("then %s", errno_name(errno));
}

void alice(void)
{
	int known = pair_up(), fresh = joined();
	full(0);
	trickle(fresh);
	trickle(known);
	TRY(write(fresh, "x", 1));
	TRY(write(known, "y", 1));
}

void bob(void)
{
	char in;
	int known = pair_up(), fresh = joined();
	trickle(fresh);
	trickle(known);
	TRY(recv(fresh, &in, 1, 0));
	TRY(recv(known, &in, 1, 0));
}
