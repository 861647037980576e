/* Socket options before, on and after: what is set reads back, what is unknown is refused. */
#include "case.h"

#define OPTION(level, name, type, ...)                                                                                 \
	do {                                                                                                           \
		type value = __VA_ARGS__, back;                                                                        \
		socklen_t size = sizeof back;                                                                          \
		memset(&back, 0, sizeof back);                                                                         \
		TRY(setsockopt(fd, level, name, &value, sizeof value));                                                \
		TRY(getsockopt(fd, level, name, &back, &size));                                                        \
		say("%u bytes, same %d", size, !memcmp(&value, &back, size));                                          \
	} while (0)

void alice(void)
{
	int fd = pair_up();
	OPTION(SOL_SOCKET, SO_KEEPALIVE, int, 1);
	OPTION(SOL_SOCKET, SO_REUSEADDR, int, 1);
	OPTION(SOL_SOCKET, SO_REUSEPORT, int, 1);
	OPTION(SOL_SOCKET, SO_BROADCAST, int, 1);
	OPTION(SOL_SOCKET, SO_PRIORITY, int, 3);
	OPTION(SOL_SOCKET, SO_DONTROUTE, int, 1);
	OPTION(SOL_SOCKET, SO_INCOMING_CPU, int, 0);
	OPTION(SOL_SOCKET, SO_LINGER, struct linger, {0, 7});
	OPTION(SOL_SOCKET, SO_RCVTIMEO, struct timeval, {3, 0});
	OPTION(SOL_SOCKET, SO_SNDTIMEO, struct timeval, {3, 0});
	OPTION(IPPROTO_TCP, TCP_NODELAY, int, 1);
	OPTION(IPPROTO_TCP, TCP_NODELAY, int, 0);
	OPTION(IPPROTO_TCP, TCP_CORK, int, 1);
	OPTION(IPPROTO_TCP, TCP_CORK, int, 0);
	OPTION(IPPROTO_TCP, TCP_QUICKACK, int, 1);
	OPTION(IPPROTO_TCP, TCP_KEEPIDLE, int, 50);
	OPTION(IPPROTO_TCP, TCP_KEEPINTVL, int, 60);
	OPTION(IPPROTO_TCP, TCP_KEEPCNT, int, 7);
	OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT, int, 30000);
	OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT, int, 16384);
	OPTION(IPPROTO_IP, IP_TOS, int, 0x10);
	OPTION(IPPROTO_IP, IP_TTL, int, 33);
	OPTION(SOL_SOCKET, 9999, int, 1);
	OPTION(IPPROTO_TCP, 9999, int, 1);
	OPTION(9999, 1, int, 1);
	int number = 0;
	socklen_t size = sizeof number;
	static const int asked[] = {SO_TYPE, SO_PROTOCOL, SO_DOMAIN, SO_ACCEPTCONN, SO_ERROR, SO_SNDLOWAT};
	for (int i = 0; i < 6; i++) {
		size = sizeof number;
		TRY(getsockopt(fd, SOL_SOCKET, asked[i], &number, &size));
		say("%d", number);
	}
	struct tcp_info info;
	size = sizeof info;
	TRY(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size));
	say("state %d", info.tcpi_state);
	char name[20];
	size = sizeof name;
	TRY(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &size));
	size = 1;
	TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, &size));
	TRY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &number, 1));
	number = 100000;
	TRY(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &number, sizeof number));
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &number, sizeof number));
	size = sizeof number;
	TRY(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &number, &size));
	say("%d", number);
	TRY(send(fd, "hello", 5, 0));
	char in[10];
	TRY(recv(fd, in, 5, MSG_WAITALL));
	meet();
}

void bob(void)
{
	int fd = pair_up();
	char in[10];
	TRY(recv(fd, in, 5, MSG_WAITALL));
	TRY(send(fd, in, 5, 0));
	meet();
}
