/* SO_RCVLOWAT set before there is a connection: on a socket that is yet to connect, and on a listener. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), least = 10;
	struct sockaddr_in to = bob_address();
	meet();
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
	TRY(connect(fd, (void *)&to, sizeof to));
	struct pollfd one = {fd, POLLIN, 0};
	least = 1;
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
	warm(fd);
	least = 10;
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
	meet();
	settle_readable(fd, 3);
	say("ready %d", poll(&one, 1, 50));
	meet();
	say("ready %d", poll(&one, 1, 10000));
	TRY(recv(fd, in, sizeof in, 0));
	meet();
}

void bob(void)
{
	int least = 10;
	TRY(setsockopt(listener(), SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
	meet();
	int fd = joined();
	socklen_t size = sizeof least;
	TRY(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, &size));
	say("inherited %d", least);
	least = 1;
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
	warm(fd);
	TRY(send(fd, "abc", 3, 0));
	meet();
	meet();
	TRY(send(fd, "0123456789", 10, 0));
	meet();
}
