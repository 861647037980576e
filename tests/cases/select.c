/* select and pselect: sets in and out, the time left, bad descriptors. */
#include "case.h"

static char in[100];

static void look(const char *what, int fd, long usec)
{
	fd_set r, w, x;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&x);
	FD_SET(fd, &r);
	FD_SET(fd, &w);
	FD_SET(fd, &x);
	struct timeval time = {0, usec};
	say("%s", what);
	TRY(select(fd + 1, &r, &w, &x, &time));
	say("  read %d write %d except %d", !!FD_ISSET(fd, &r), !!FD_ISSET(fd, &w), !!FD_ISSET(fd, &x));
	FD_SET(fd, &r);
	struct timespec brief = {0, usec * 1000};
	TRY(pselect(fd + 1, &r, NULL, NULL, &brief, NULL));
	say("  read %d, time %ld", !!FD_ISSET(fd, &r), brief.tv_nsec);
}

void alice(void)
{
	int fd = pair_up(), pipes[2];
	MUST(pipe(pipes));
	look("idle", fd, 1000);
	look("idle", fd, 0);
	meet();
	meet();
	settle_readable(fd, 10);
	look("data", fd, 100000);
	TRY(recv(fd, in, 5, 0));
	look("part", fd, 0);
	TRY(recv(fd, in, 5, 0));
	/* The time that is left. */
	fd_set r;
	FD_ZERO(&r);
	FD_SET(fd, &r);
	FD_SET(pipes[0], &r);
	struct timeval time = {0, 150000};
	long start = now_ms();
	TRY(select(FD_SETSIZE, &r, NULL, NULL, &time));
	say_time("select", start, 150);
	say("left %ld %ld, read %d", time.tv_sec, time.tv_usec, !!FD_ISSET(fd, &r));
	FD_SET(fd, &r);
	FD_SET(pipes[0], &r);
	time = (struct timeval){100, 0};
	meet();
	TRY(select(FD_SETSIZE, &r, NULL, NULL, &time));
	say("some left %d, read %d pipe %d", time.tv_sec >= 80, !!FD_ISSET(fd, &r),
	    !!FD_ISSET(pipes[0], &r));
	/* A pipe beside it. */
	write(pipes[1], "x", 1);
	FD_SET(fd, &r);
	FD_SET(pipes[0], &r);
	TRY(select(FD_SETSIZE, &r, NULL, NULL, NULL));
	say("read %d pipe %d", !!FD_ISSET(fd, &r), !!FD_ISSET(pipes[0], &r));
	recv(fd, in, 10, 0);
	FD_SET(fd, &r);
	FD_SET(40, &r); /* within the kernel's smallest table; beyond the table it looks away */
	TRY(select(FD_SETSIZE, &r, NULL, NULL, NULL));
	TRY(select(-1, NULL, NULL, NULL, NULL));
	time = (struct timeval){-1, 0};
	TRY(select(1, NULL, NULL, NULL, &time));
	time = (struct timeval){0, 20000};
	TRY(select(0, NULL, NULL, NULL, &time));
	meet();
	settle_fin(fd);
	look("half closed", fd, 1000);
	TRY(shutdown(fd, SHUT_WR));
	settle_reset(fd);
	look("closed", fd, 1000);
}

void bob(void)
{
	int fd = pair_up();
	meet();
	send_all(fd, "0123456789", 10);
	meet();
	meet();
	settle_asleep(peer_pid());
	send_all(fd, "0123456789", 10);
	meet();
	TRY(shutdown(fd, SHUT_WR));
	TRY(recv(fd, in, 1, 0));
}
