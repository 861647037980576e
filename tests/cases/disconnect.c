/* connect to AF_UNSPEC ends a connection by a reset and frees the socket for another one. */
#include "case.h"

void alice(void)
{
	char in[10];
	int fd = pair_up();
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	TRY(connect(fd, &none, sizeof none));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(recv(fd, in, 1, 0));
	struct sockaddr_in there = bob_address();
	TRY(getpeername(fd, (void *)&there, &(socklen_t){sizeof there}));
	there = bob_address();
	meet();
	TRY(connect(fd, (void *)&there, sizeof there));
	warm(fd);
	TRY(send(fd, "again", 5, 0));
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	char in[10];
	int fd = pair_up();
	TRY(recv(fd, in, 1, 0));
	TRY(recv(fd, in, 1, 0));
	meet();
	close(fd);
	fd = pair_up();
	say_bytes("in", in, TRY(recv(fd, in, 5, MSG_WAITALL)));
}
