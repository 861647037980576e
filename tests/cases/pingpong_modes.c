/* Round trips in every mixture of blocking and non-blocking ends and sizes, past the switch and back. */
#include "case.h"

static char out[100000], in[100000];

static void put(int fd, size_t size, int way)
{
	for (size_t done = 0; done < size;) {
		struct iovec parts[2] = {{out + done, (size - done) / 3}, {out + done + (size - done) / 3,
									   size - done - (size - done) / 3}};
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
		long sent = way == 0   ? write(fd, out + done, size - done)
			    : way == 1 ? writev(fd, parts, 2)
			    : way == 2 ? sendmsg(fd, &message, MSG_NOSIGNAL)
				       : sendto(fd, out + done, size - done, MSG_DONTWAIT, NULL, 0);
		if (sent < 0) {
			CHECK(errno == EAGAIN);
			struct pollfd one = {fd, POLLOUT, 0};
			CHECK(poll(&one, 1, 20000) == 1);
			continue;
		}
		done += sent;
	}
}

static void get(int fd, size_t size, int way)
{
	for (size_t done = 0; done < size;) {
		struct iovec parts[2] = {{in + done, (size - done) / 3}, {in + done + (size - done) / 3,
									  size - done - (size - done) / 3}};
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
		long got = way == 0   ? read(fd, in + done, size - done)
			   : way == 1 ? readv(fd, parts, 2)
			   : way == 2 ? recvmsg(fd, &message, 0)
				      : recvfrom(fd, in + done, size - done, MSG_DONTWAIT, NULL, NULL);
		if (got < 0) {
			CHECK(errno == EAGAIN);
			struct pollfd one = {fd, POLLIN, 0};
			CHECK(poll(&one, 1, 20000) == 1);
			continue;
		}
		CHECK(got > 0);
		done += got;
	}
}

static void both(void)
{
	static const size_t sizes[] = {1, 2, 63, 64, 1000, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 100000};
	for (int mode = 0; mode < 4; mode++) {
		int fd = pair_up();
		set_nonblocking(fd, is_alice ? mode & 1 : mode & 2);
		for (int i = 0; i < 13 * 4; i++) {
			size_t size = sizes[i % 13];
			fill(out, size, i, 0);
			if (is_alice) {
				put(fd, size, i / 13);
				get(fd, size, (i + mode) % 4);
			} else {
				get(fd, size, (i + mode) % 4);
				put(fd, size, i / 13);
			}
			CHECK(!memcmp(in, out, size));
		}
		close(fd);
		say("mode %d", mode);
	}
}

void alice(void)
{
	both();
}

void bob(void)
{
	both();
}
