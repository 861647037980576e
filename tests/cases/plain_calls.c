/* Every plain way to write and to read, whole, in part, with nothing. */
#include "case.h"

static char out[4096], in[8192];

void alice(void)
{
	int fd = pair_up();
	struct sockaddr_in somewhere = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct iovec parts[3] = {{out + 1000, 10}, {out + 1010, 0}, {out + 1010, 90}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
	fill(out, sizeof out, 1, 0);
	TRY(write(fd, out, 100));
	TRY(write(fd, out, 0));
	TRY(send(fd, out + 100, 200, 0));
	TRY(send(fd, out, 0, 0));
	TRY(sendto(fd, out + 300, 300, 0, NULL, 0));
	TRY(sendto(fd, out + 600, 400, 0, (void *)&somewhere, sizeof somewhere));
	TRY(writev(fd, parts, 3));
	parts[0].iov_base = out + 1100;
	parts[2].iov_base = out + 1110;
	TRY(sendmsg(fd, &message, 0));
	meet();
	meet();
	/* And one byte at a time. */
	for (int i = 0; i < 100; i++)
		CHECK(write(fd, out + 1200 + i, 1) == 1);
	meet();
	TRY(read(fd, in, 1));
	say_bytes("read", in, 1);
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	struct sockaddr_storage from;
	socklen_t size = sizeof from;
	struct iovec parts[3] = {{in + 600, 7}, {in + 607, 0}, {in + 607, 93}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3, .msg_name = &from, .msg_namelen = sizeof from};
	meet();
	settle_readable(fd, 1200);
	TRY(read(fd, in, 0));
	TRY(recv(fd, in, 0, 0));
	TRY(read(fd, in, 100));
	TRY(recv(fd, in + 100, 200, 0));
	memset(&from, 7, sizeof from);
	TRY(recvfrom(fd, in + 300, 200, 0, (void *)&from, &size));
	say("address of %u bytes", size);
	TRY(recvfrom(fd, in + 500, 100, 0, NULL, NULL));
	TRY(readv(fd, parts, 3));
	parts[0].iov_base = in + 700;
	parts[2].iov_base = in + 707;
	TRY(recvmsg(fd, &message, 0));
	say("name %u bytes, control %zu, flags %#x", message.msg_namelen, message.msg_controllen, message.msg_flags);
	TRY(read(fd, in + 800, sizeof in - 800));
	say_bytes("all", in, 1200);
	CHECK(is_fill(in, 1200, 1, 0));
	meet();
	meet();
	settle_readable(fd, 100);
	TRY(read(fd, in, sizeof in));
	CHECK(is_fill(in, 100, 1, 1200));
	TRY(write(fd, "x", 1));
	settle_fin(fd);
	TRY(read(fd, in, 10));
	TRY(read(fd, in, 10));
	TRY(read(fd, in, 0));
	TRY(close(fd));
	TRY(close(fd));
	TRY(read(fd, in, 1));
	TRY(write(fd, in, 1));
}
