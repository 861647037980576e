/* Both ends shut down with bytes unread; after a reset; what was there is still read, and errors are told in their place. */
#include "case.h"

static char in[100];

static void look(int fd)
{
	struct pollfd one = {fd, POLLIN | POLLRDHUP, 0};
	TRY(poll(&one, 1, 0));
	say_poll("poll", one.revents);
}

void alice(void)
{
	/* Bob shuts down first, in one call or in two, with alice's bytes unread. */
	for (int i = 0; i < 3; i++) {
		int fd = pair_up();
		send_all(fd, "unread", 6);
		meet();
		meet();
		if (i)
			settle_fin(fd);
		TRY(shutdown(fd, i == 1 ? SHUT_RDWR : SHUT_WR));
		meet();
		meet();
		TRY(recv(fd, in, 10, 0));
		look(fd);
		TRY(send(fd, "x", 1, MSG_NOSIGNAL));
		TRY(close(fd));
		meet();
	}
	/* Bob closes with bytes unread, and so resets; alice's own are unread by him. */
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		send_all(fd, "unread", 6);
		meet();
		meet();
		settle_reset(fd);
		TRY(shutdown(fd, SHUT_WR));
		if (i)
			look(fd);
		TRY(send(fd, "x", 1, MSG_NOSIGNAL));
		TRY(recv(fd, in, 10, 0));
		TRY(close(fd));
	}
}

void bob(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = pair_up();
		settle_readable(fd, 6);
		meet();
		if (i != 1)
			TRY(shutdown(fd, i ? SHUT_WR : SHUT_RD));
		if (i)
			TRY(shutdown(fd, i == 1 ? SHUT_RDWR : SHUT_RD));
		meet();
		meet();
		settle_fin(fd);
		TRY(recv(fd, in, 3, 0));
		TRY(recv(fd, in, 100, 0));
		TRY(recv(fd, in, 1, 0));
		TRY(shutdown(fd, SHUT_RDWR));
		look(fd);
		meet();
		meet();
		TRY(close(fd));
	}
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		settle_readable(fd, 6);
		meet();
		TRY(close(fd));
		meet();
	}
}
