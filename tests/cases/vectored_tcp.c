/* Many parts of a moved connection's bytes that TCP carries: all that are there are had by one call. */
#include "case.h"

static char in[4096];

static void by_file(int fd, int size)
{
	int file = MUST(memfd_create("file", 0));
	char data[4096];
	fill(data, sizeof data, 1, 0);
	CHECK(write(file, data, size) == size);
	off_t at = 0;
	CHECK(sendfile(fd, file, &at, size) == size);
	close(file);
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 0; i < 2; i++) {
		by_file(fd, 1000);
		meet();
		meet();
	}
	close(fd);
}

void alice(void)
{
	int fd = pair_up();
	static struct iovec parts[1024];
	for (int i = 0; i < 1024; i++)
		parts[i] = (struct iovec){in + i * 2, i % 3};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 64};
	meet();
	settle_readable(fd, 1000);
	TRY(recvmsg(fd, &message, MSG_PEEK));
	say_bytes("peek", in, 128);
	TRY(readv(fd, parts, 64));
	say_bytes("read", in, 128);
	TRY(recvmsg(fd, &message, 0));
	TRY(recvmsg(fd, &message, MSG_WAITALL));
	TRY(readv(fd, parts, 16));
	TRY(readv(fd, parts, 17));
	TRY(readv(fd, parts, 1024));
	TRY(recv(fd, in, 1, MSG_DONTWAIT));
	meet();
	meet();
	settle_readable(fd, 1000);
	memset(in, 0, sizeof in);
	TRY(readv(fd, parts, 1024));
	say_bytes("all", in, 2048);
	meet();
	TRY(recv(fd, in, 1, 0));
}
