/* What accept, accept4 and socket give their descriptors. */
#include "case.h"

static void flags(const char *what, int fd)
{
	say("%s: nonblocking %d, cloexec %ld", what, !!(MUST(fcntl(fd, F_GETFL)) & O_NONBLOCK),
	    MUST(fcntl(fd, F_GETFD)));
}

void alice(void)
{
	struct sockaddr_in there = bob_address();
	for (int i = 0; i < 3; i++) {
		int fd = MUST(socket(AF_INET, SOCK_STREAM | (i == 1 ? SOCK_NONBLOCK | SOCK_CLOEXEC : 0), 0));
		flags("socket", fd);
		set_nonblocking(fd, false);
		TRY(connect(fd, (void *)&there, sizeof there));
		warm(fd);
		flags("warm", fd);
		say("descriptor %d", fd);
	}
	TRY(socket(AF_INET, SOCK_STREAM | 0x100000, 0));
	TRY(accept4(3, NULL, NULL, 0));
	meet();
}

void bob(void)
{
	struct sockaddr_in from;
	for (int i = 0; i < 3; i++) {
		socklen_t size = sizeof from;
		int fd = i == 0   ? accept(listener(), (void *)&from, &size)
			 : i == 1 ? accept4(listener(), (void *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
				  : accept4(listener(), NULL, NULL, 0);
		say("descriptor %d, address %u", fd, size);
		flags("accepted", fd);
		set_nonblocking(fd, false);
		warm(fd);
		flags("warm", fd);
	}
	TRY(accept4(listener(), NULL, NULL, 0x100000));
	meet();
}
