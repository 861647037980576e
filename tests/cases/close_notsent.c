/* TCP_NOTSENT_LOWAT: TCP takes no more than a little that it cannot send yet. A close behind much that is unread loses nothing
 * and resets nothing. */
#include "case.h"

enum { LENGTH = 200 << 10 };
static char bytes[LENGTH];

void alice(void)
{
	int fd = pair_up(), least = 4096;
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &least, sizeof least));
	fill(bytes, LENGTH, 7, 0);
	send_all(fd, bytes, LENGTH);
	TRY(close(fd));
	post(1);
}

void bob(void)
{
	int fd = pair_up();
	/* Over TCP alice cannot close before this is read; otherwise she may, after her last words. */
	for (int i = 0; i < 150 && !posted(1); i++)
		nap_ms(10);
	recv_all(fd, bytes, LENGTH);
	say("whole: %d", is_fill(bytes, LENGTH, 7, 0));
	TRY(recv(fd, bytes, 1, 0));
}
