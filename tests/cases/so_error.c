/* SO_ERROR: told once, then gone; after a refused connect, after a reset. Non-blocking connect in all its states. */
#include "case.h"

static void say_error(int fd)
{
	int error = -1;
	socklen_t size = sizeof error;
	TRY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	say("error: %s, %u bytes", error ? errno_name(error) : "none", size);
}

void alice(void)
{
	/* A port that refuses: bound, not listening. */
	struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof nobody;
	int bound = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(bind(bound, (void *)&nobody, sizeof nobody));
	MUST(getsockname(bound, (void *)&nobody, &size));
	int fd = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	TRY(connect(fd, (void *)&nobody, sizeof nobody));
	struct pollfd one = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
	TRY(poll(&one, 1, 5000));
	say_poll("refused", one.revents);
	say_error(fd);
	say_error(fd);
	TRY(poll(&one, 1, 0));
	say_poll("after", one.revents);
	char byte;
	TRY(recv(fd, &byte, 1, 0));
	TRY(send(fd, &byte, 1, MSG_NOSIGNAL));
	/* The same socket may try again. */
	struct sockaddr_in there = bob_address();
	TRY(connect(fd, (void *)&there, sizeof there));
	TRY(poll(&one, 1, 5000));
	say_poll("connected", one.revents);
	say_error(fd);
	TRY(connect(fd, (void *)&there, sizeof there));
	TRY(connect(fd, (void *)&there, sizeof there));
	set_nonblocking(fd, false);
	warm(fd);
	TRY(connect(fd, (void *)&there, sizeof there));
	TRY(listen(fd, 1));
	TRY(bind(fd, (void *)&nobody, sizeof nobody));
	TRY(accept(fd, NULL, NULL));
	meet();
	settle_reset(fd);
	say_error(fd);
	say_error(fd);
	TRY(recv(fd, &byte, 1, 0));
	TRY(close(fd));
	/* Blocking and refused. */
	fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
	TRY(connect(fd, (void *)&nobody, sizeof nobody));
	say_error(fd);
	TRY(close(fd));
}

void bob(void)
{
	int fd = joined();
	warm(fd);
	meet();
	struct linger now = {1, 0};
	TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
	TRY(close(fd));
}
