/* Lengths beyond all memory, and flags that nobody knows: the kernel refuses before it begins. */
#include "case.h"

static char data[100], in[100];
/* Not constants to the compiler. */
static volatile size_t most = -1, huge = (size_t)1 << 62;
static char *volatile into = in;
static void *volatile beyond = (void *)-1, *volatile none;

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

void alice(void)
{
	int fd = pair_up();
	fill(data, sizeof data, 1, 0);
	TRY(write(fd, data, most));
	TRY(write(fd, data, huge));
	TRY(write(fd, none, 10));
	TRY(send(fd, beyond, 10, 0));
	TRY(send(fd, beyond, most, 0));
	struct iovec negative[2] = {{data, 10}, {data, most}}, far[2] = {{data, 10}, {data, huge}};
	struct iovec missing[2] = {{data, 10}, {none, 10}}, good = {data, 10};
	TRY(writev(fd, negative, 2));
	TRY(writev(fd, far, 2));
	TRY(writev(fd, missing, 2));
	TRY(pwritev2(fd, &good, 1, -1, 0x40000000));
	TRY(pwritev2(fd, &good, 1, -1, RWF_APPEND));
	TRY(pwritev2(fd, &good, 1, -1, RWF_NOWAIT | RWF_SYNC));
	TRY(send(fd, data, 10, 0));
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	settle_readable(fd, 30);
	struct iovec far[2] = {{in, 10}, {in, huge}}, good = {in, 10};
	struct mmsghdr message;
	struct timespec time = {-1, 0};
	memset(&message, 0, sizeof message);
	message.msg_hdr.msg_iov = &good;
	message.msg_hdr.msg_iovlen = 1;
	TRY(read(fd, into, most));
	TRY(read(fd, into, huge));
	TRY(readv(fd, far, 2));
	TRY(recv(fd, beyond, 10, 0));
	TRY(preadv2(fd, &good, 1, -1, 0x40000000));
	TRY(recvmmsg(fd, &message, 1, 0, &time));
	time = (struct timespec){0, 1000000000};
	TRY(recvmmsg(fd, &message, 1, 0, &time));
	time = (struct timespec){1000, 0};
	TRY(recvmmsg(fd, &message, 1, 0, &time));
	say("rest: %ld", (long)time.tv_sec);
	say_bytes("in", in, message.msg_len);
	TRY(recv(fd, into, most, MSG_PEEK | MSG_DONTWAIT));
	say_bytes("in", in, 20);
	say_rest(fd);
}
