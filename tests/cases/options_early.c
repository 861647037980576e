/* Options that keep a stream on TCP, set before there is one: on a socket that is yet to connect, and on a listener. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), on = 1;
	struct sockaddr_in to = bob_address();
	meet();
	TRY(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
	TRY(connect(fd, (void *)&to, sizeof to));
	for (int i = 0; i < 100; i++) {
		MUST(send(fd, "0123456789", 10, 0));
		recv_all(fd, in, 10);
	}
	meet();
	TRY(recv(fd, in, sizeof in, 0));
	meet();
}

void bob(void)
{
	int on = 1;
	TRY(setsockopt(listener(), SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
	meet();
	int fd = joined();
	socklen_t size = sizeof on;
	TRY(getsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, &size));
	say("inherited %d", on);
	for (int i = 0; i < 100; i++) {
		recv_all(fd, in, 10);
		MUST(send(fd, in, 10, 0));
	}
	meet();
	TRY(send(fd, "0123456789", 10, 0));
	meet();
}
