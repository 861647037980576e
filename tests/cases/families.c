/* IPv6, IPv4 to a dual-stack listener (v4-mapped there), and plain IPv4: all move, addresses stay what they are. */
#include "case.h"

static char in[100];

static void say_family(const char *what, struct sockaddr_storage *address, socklen_t size)
{
	char text[INET6_ADDRSTRLEN];
	void *at = address->ss_family == AF_INET ? (void *)&((struct sockaddr_in *)address)->sin_addr
						 : (void *)&((struct sockaddr_in6 *)address)->sin6_addr;
	say("%s: %s, %u bytes", what, inet_ntop(address->ss_family, at, text, sizeof text), size);
}

static void ends(int fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	TRY(getsockname(fd, (void *)&address, &size));
	say_family("local", &address, size);
	size = sizeof address;
	TRY(getpeername(fd, (void *)&address, &size));
	say_family("remote", &address, size);
}

void alice(void)
{
	struct sockaddr_in6 there = bob_address6();
	struct sockaddr_in four = bob_address();
	four.sin_port = there.sin6_port;
	int fd = MUST(socket(AF_INET6, SOCK_STREAM, 0));
	MUST(connect(fd, (void *)&there, sizeof there));
	warm(fd);
	ends(fd);
	TRY(send(fd, "six", 3, 0));
	TRY(recv(fd, in, 1, 0));
	close(fd);
	fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(connect(fd, (void *)&four, sizeof four));
	warm(fd);
	ends(fd);
	TRY(send(fd, "four", 4, 0));
	TRY(recv(fd, in, 1, 0));
	close(fd);
	/* A v4-mapped connector to a plain IPv4 listener. */
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &there.sin6_addr);
	there.sin6_port = bob_address().sin_port;
	fd = MUST(socket(AF_INET6, SOCK_STREAM, 0));
	MUST(connect(fd, (void *)&there, sizeof there));
	warm(fd);
	ends(fd);
	TRY(send(fd, "mapped", 6, 0));
	TRY(recv(fd, in, 1, 0));
	close(fd);
}

void bob(void)
{
	listener6();
	for (int i = 0; i < 3; i++) {
		int fd = MUST(accept(i < 2 ? listener6() : listener(), NULL, NULL));
		warm(fd);
		ends(fd);
		say_bytes("in", in, TRY(recv(fd, in, 100, 0)));
		close(fd);
	}
}
