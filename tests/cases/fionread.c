/* FIONREAD, SIOCOUTQ, FIONBIO, and an ioctl that no socket knows. */
#include "case.h"

static char in[100000];

void alice(void)
{
	int fd = pair_up(), there = -1;
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
	char data[10000];
	fill(data, sizeof data, 1, 0);
	send_all(fd, data, 10000);
	/* Sent is what has arrived, read or not. */
	settle_sent(fd);
	meet();
	meet();
	settle_sent(fd);
	TRY(ioctl(fd, SIOCOUTQ, &there));
	say("unsent %d", there);
	TRY(ioctl(fd, SIOCOUTQNSD, &there));
	say("not sent %d", there);
	int on = 1, off = 0;
	TRY(ioctl(fd, FIONBIO, &on));
	TRY(recv(fd, in, 1, 0));
	say("nonblocking %d", !!(MUST(fcntl(fd, F_GETFL)) & O_NONBLOCK));
	TRY(ioctl(fd, FIONBIO, &off));
	say("nonblocking %d", !!(MUST(fcntl(fd, F_GETFL)) & O_NONBLOCK));
	meet();
	TRY(recv(fd, in, 4, MSG_WAITALL));
	TRY(ioctl(fd, TCGETS, in));
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up(), there = -1;
	meet();
	settle_readable(fd, 10000);
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
	TRY(recv(fd, in, 1, 0));
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
	TRY(recv(fd, in, 9999, MSG_WAITALL));
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
	meet();
	meet();
	send_all(fd, "four", 4);
	settle_fin(fd);
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
}
