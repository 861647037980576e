/* Preloaded above the shim: looks at every new connection, taking nothing, until it has had the time to move. With
 * SLIPSTREAM_MIN_OPS=0, connections move that carry a few bytes only, and before their first one. The run without the
 * shim has it, too, so that it is no difference. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Descriptors that are looked at; looks at a time, and in a connection's life. */
#define DESCRIPTORS 65536
#define LOOKS 48
#define ALL_LOOKS (2 * LOOKS)

static _Atomic unsigned char left[DESCRIPTORS];
static _Atomic int highest;

#define NEXT(name)                                                                                                     \
	({                                                                                                             \
		static __typeof__(&name) next_;                                                                        \
		if (!next_)                                                                                            \
			next_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                            \
		next_;                                                                                                 \
	})

static int is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;
	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
	       (peer.ss_family == AF_INET || peer.ss_family == AF_INET6);
}

static int look(void)
{
	int looked = 0;
	for (int fd = 0; fd <= highest; fd++) {
		char byte;
		if (!left[fd] || !is_connected(fd))
			continue;
		left[fd]--;
		looked++;
		recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	}
	return looked;
}

/* Both ends are often in one process, even in one thread: all new connections are looked at together. */
static void hurry(void)
{
	int error = errno;
	for (int i = 0; i < LOOKS && look(); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 250000 }, NULL);
	errno = error;
}

static void note(int fd)
{
	int error = errno, type = 0, old = highest;
	socklen_t len = sizeof type;
	if (fd < DESCRIPTORS && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM) {
		left[fd] = ALL_LOOKS;
		while (old < fd && !atomic_compare_exchange_weak(&highest, &old, fd))
			;
	}
	errno = error;
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	int result = NEXT(connect)(fd, address, len);
	if (result == 0 || errno == EINPROGRESS) {
		note(fd);
		hurry();
	}
	return result;
}

static int accepted(int fd)
{
	if (fd >= 0) {
		note(fd);
		hurry();
	}
	return fd;
}

int accept(int fd, struct sockaddr *address, socklen_t *len)
{
	return accepted(NEXT(accept)(fd, address, len));
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	return accepted(NEXT(accept4)(fd, address, len, flags));
}

int close(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		left[fd] = 0;
	return NEXT(close)(fd);
}

/* A TCP connection to oneself in the place of a pair: descriptors as a pair has them, the two lowest free ones. */
static int tcp_pair(int flags, int pair[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *address = (struct sockaddr *)&at;
	socklen_t len = sizeof at;
	int one = 1, cloexec = flags & SOCK_CLOEXEC, accepted = -1;
	pair[0] = socket(AF_INET, SOCK_STREAM | cloexec, 0);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (pair[0] >= 0 && listener >= 0 && bind(listener, address, len) == 0 && listen(listener, 1) == 0 &&
	    getsockname(listener, address, &len) == 0 && NEXT(connect)(pair[0], address, len) == 0)
		accepted = NEXT(accept4)(listener, NULL, NULL, flags);
	if (listener >= 0)
		close(listener);
	if (accepted < 0) {
		if (pair[0] >= 0)
			close(pair[0]);
		return -1;
	}
	pair[1] = fcntl(accepted, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
	close(accepted);
	for (int i = 0; i < 2; i++) {
		setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (flags & SOCK_NONBLOCK)
			fcntl(pair[i], F_SETFL, O_RDWR | O_NONBLOCK);
		note(pair[i]);
	}
	hurry();
	return 0;
}

/* With HURRY_PAIRS set, pairs of Unix stream sockets are TCP connections, as far as descriptors go. */
int socketpair(int domain, int type, int protocol, int pair[2])
{
	int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (getenv("HURRY_PAIRS") && domain == AF_UNIX && (type & ~flags) == SOCK_STREAM && tcp_pair(flags, pair) == 0)
		return 0;
	return NEXT(socketpair)(domain, type, protocol, pair);
}
