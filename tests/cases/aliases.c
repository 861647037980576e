/* The other names of libc's calls: fortified ones, aliases with underscores, LFS names; and libc's own syscall(). */
#include "case.h"
#include <dlfcn.h>

static char in[100];

static void *named(const char *name)
{
	void *call = dlsym(RTLD_DEFAULT, name);
	CHECK(call);
	return call;
}

void alice(void)
{
	int fd = pair_up();
	long (*put)(int, const void *, size_t, int) = named("__send");
	long (*write_)(int, const void *, size_t) = named("__write");
	int (*control)(int, int, long) = named("__fcntl");
	int (*control64)(int, int, long) = named("fcntl64");
	int (*close_)(int) = named("__close");
	TRY(put(fd, "0123456789", 10, 0));
	TRY(write_(fd, "abcdefghij", 10));
	TRY(syscall(SYS_write, fd, "ABCDEFGHIJ", 10));
	TRY(syscall(SYS_sendto, fd, "klmnopqrst", 10, 0, NULL, 0));
	struct iovec part = {"KLMNOPQRST", 10};
	TRY(syscall(SYS_writev, fd, &part, 1));
	meet();
	TRY(control(fd, F_SETFL, O_RDWR | O_NONBLOCK));
	TRY(recv(fd, in, 1, 0));
	TRY(control64(fd, F_SETFL, O_RDWR));
	meet();
	TRY(recv(fd, in, 1, 0));
	TRY(control64(fd, F_SETFL, O_RDWR | O_NONBLOCK));
	TRY(syscall(SYS_read, fd, in, 1));
	TRY(syscall(SYS_fcntl, fd, F_SETFL, O_RDWR));
	meet();
	say_bytes("raw", in, TRY(syscall(SYS_read, fd, in, 10)));
	TRY(close_(fd));
	TRY(syscall(SYS_close, fd));
	/* Raw calls only. */
	struct sockaddr_in there = bob_address();
	fd = TRY(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0));
	TRY(syscall(SYS_connect, fd, &there, sizeof there));
	for (int i = 0; i < 400; i++) {
		CHECK(syscall(SYS_sendto, fd, "ping", 4, 0, NULL, 0) == 4);
		CHECK(syscall(SYS_recvfrom, fd, in, 4, MSG_WAITALL, NULL, NULL) == 4);
	}
	TRY(syscall(SYS_close, fd));
}

void bob(void)
{
	int fd = pair_up();
	long (*read_chk)(int, void *, size_t, size_t) = named("__read_chk");
	long (*recv_chk)(int, void *, size_t, size_t, int) = named("__recv_chk");
	long (*recvfrom_chk)(int, void *, size_t, size_t, int, void *, void *) = named("__recvfrom_chk");
	long (*read_)(int, void *, size_t) = named("__read");
	int (*poll_chk)(struct pollfd *, nfds_t, int, size_t) = named("__poll_chk");
	int (*ppoll_chk)(struct pollfd *, nfds_t, void *, void *, size_t) = named("__ppoll_chk");
	int (*poll_)(struct pollfd *, nfds_t, int) = named("__poll");
	int (*select_)(int, void *, void *, void *, void *) = named("__select");
	meet();
	settle_readable(fd, 50);
	struct pollfd one = {fd, POLLIN, 0};
	struct timespec time = {1, 0};
	TRY(poll_chk(&one, 1, 1000, sizeof one));
	TRY(ppoll_chk(&one, 1, &time, NULL, sizeof one));
	TRY(poll_(&one, 1, 1000));
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	TRY(select_(fd + 1, &set, NULL, NULL, NULL));
	TRY(syscall(SYS_poll, &one, 1, 1000));
	say_bytes("read_chk", in, TRY(read_chk(fd, in, 10, 100)));
	say_bytes("recv_chk", in, TRY(recv_chk(fd, in, 10, 100, 0)));
	say_bytes("recvfrom_chk", in, TRY(recvfrom_chk(fd, in, 10, 100, 0, NULL, NULL)));
	say_bytes("__read", in, TRY(read_(fd, in, 10)));
	say_bytes("rest", in, TRY(recv(fd, in, 100, 0)));
	meet();
	settle_asleep(peer_pid());
	TRY(send(fd, "x", 1, 0));
	meet();
	TRY(send(fd, "0123456789", 10, 0));
	TRY(recv(fd, in, 1, 0));
	close(fd);
	fd = joined();
	for (int i = 0; i < 400; i++) {
		recv_all(fd, in, 4);
		send_all(fd, in, 4);
	}
	TRY(recv(fd, in, 1, 0));
}
