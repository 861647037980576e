/* poll and ppoll in every state of a connection; mixed, doubled, negative and bad descriptors. */
#include "case.h"

static char in[100];

static void look(const char *what, int fd)
{
	static const short wanted[] = {POLLIN, POLLOUT, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0,
				       POLLRDNORM | POLLWRNORM};
	say("%s", what);
	for (int i = 0; i < 5; i++) {
		struct pollfd one = {fd, wanted[i], 0x5555};
		TRY(poll(&one, 1, 0));
		say_poll("  poll", one.revents);
	}
	struct timespec none = {0, 0};
	struct pollfd one = {fd, POLLIN | POLLOUT, 0};
	TRY(ppoll(&one, 1, &none, NULL));
	say_poll("  ppoll", one.revents);
}

void alice(void)
{
	int fd = pair_up(), pipes[2];
	MUST(pipe(pipes));
	look("idle", fd);
	meet();
	meet();
	settle_readable(fd, 10);
	look("data", fd);
	struct pollfd many[6] = {{fd, POLLIN, 0},        {fd, POLLOUT, 0},         {-1, POLLIN, 9},
				 {pipes[0], POLLIN, 0}, {pipes[1], POLLOUT, 0}, {999, POLLIN, 0}};
	TRY(poll(many, 6, -1));
	for (int i = 0; i < 6; i++)
		say_poll("many", many[i].revents);
	TRY(recv(fd, in, 4, 0));
	look("part read", fd);
	TRY(recv(fd, in, 10, 0));
	look("all read", fd);
	long start = now_ms();
	struct pollfd one = {fd, POLLIN, 7};
	TRY(poll(&one, 1, 150));
	say_time("poll", start, 150);
	say_poll("revents", one.revents);
	struct timespec brief = {0, 120000000};
	start = now_ms();
	TRY(ppoll(&one, 1, &brief, NULL));
	say_time("ppoll", start, 120);
	say("timeout kept: %ld", brief.tv_nsec);
	TRY(poll(NULL, 0, 10));
	/* Woken by data while asleep; by a pipe while asleep. */
	meet();
	TRY(poll(&one, 1, 20000));
	say_poll("woken", one.revents);
	recv(fd, in, 10, 0);
	meet();
	settle_fin(fd);
	look("half closed", fd);
	TRY(shutdown(fd, SHUT_WR));
	settle_reset(fd); /* HUP */
	look("closed", fd);
	TRY(close(fd));
	look("gone", fd);
	meet();
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
	meet();
}
