/* Vectors: many parts, empty parts, too many parts, and the calls with an offset, which a socket refuses. */
#include "case.h"

static char data[300000], in[300000];

void alice(void)
{
	int fd = pair_up();
	static struct iovec parts[1100];
	fill(data, sizeof data, 1, 0);
	for (int i = 0; i < 1100; i++)
		parts[i] = (struct iovec){data + i * 250, i % 7 ? 250 : 0};
	TRY(writev(fd, parts, 1024));
	TRY(writev(fd, parts, 1025));
	TRY(writev(fd, parts, 0));
	TRY(writev(fd, parts, -1));
	struct iovec huge[2] = {{data, 10}, {data, (size_t)-1}};
	TRY(writev(fd, huge, 2));
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1025};
	TRY(sendmsg(fd, &message, 0));
	message.msg_iovlen = 5;
	TRY(sendmsg(fd, &message, 0));
	message.msg_iovlen = 0;
	TRY(sendmsg(fd, &message, 0));
	TRY(pwrite(fd, data, 1, 0));
	TRY(pwritev(fd, parts, 1, 0));
	TRY(pwritev2(fd, parts + 1, 2, -1, 0));
	TRY(lseek(fd, 0, SEEK_CUR));
	meet();
	close(fd);
}

void bob(void)
{
	int fd = pair_up();
	static struct iovec parts[1100];
	size_t all = 0;
	long got;
	/* Blocking: the writer may need room, so take it as it comes. */
	size_t sum = 0;
	for (int i = 0; i < 1024; i++)
		sum += i % 7 ? 250 : 0;
	sum += 4 * 250 + 2 * 250;
	while (all < sum) {
		for (int i = 0; i < 1024; i++)
			parts[i] = (struct iovec){in + all + i * 3, 3};
		long want = sum - all < 3072 ? (long)(sum - all + 2) / 3 : 1024;
		got = MUST(readv(fd, parts, want));
		CHECK(got > 0);
		all += got;
	}
	meet();
	say_bytes("all", in, all);
	TRY(readv(fd, parts, 0));
	TRY(readv(fd, parts, 1025));
	TRY(readv(fd, parts, -1));
	TRY(pread(fd, in, 1, 0));
	TRY(preadv(fd, parts, 1, 0));
	settle_fin(fd);
	TRY(preadv2(fd, parts, 1, -1, 0));
	TRY(preadv2(fd, parts, 1, -1, RWF_NOWAIT));
}
