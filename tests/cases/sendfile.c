/* sendfile to a moved endpoint between other writes, blocking and not; from it is refused; copy_file_range too. */
#include "case.h"

enum { SIZE = 3000000 };
static char data[SIZE + 100], in[SIZE + 100];

static int file(void)
{
	int fd = MUST(memfd_create("case", MFD_CLOEXEC));
	fill(data, SIZE, 1, 0);
	CHECK(write(fd, data, SIZE) == SIZE);
	return fd;
}

void alice(void)
{
	int fd = pair_up(), source = file();
	off_t at = 0;
	send_all(fd, "before", 6);
	while (at < SIZE)
		CHECK(sendfile(fd, source, &at, SIZE - at) > 0);
	say("at %ld", (long)at);
	send_all(fd, "after", 5);
	TRY(lseek(source, 1000, SEEK_SET));
	TRY(sendfile(fd, source, NULL, 500));
	TRY(lseek(source, 0, SEEK_CUR));
	at = SIZE - 10;
	TRY(sendfile64(fd, source, &at, 500));
	TRY(sendfile(fd, source, &at, 500));
	TRY(sendfile(source, fd, NULL, 10));
	TRY(copy_file_range(fd, NULL, source, NULL, 10, 0));
	TRY(copy_file_range(source, NULL, fd, NULL, 10, 0));
	TRY(send(fd, "end", 3, 0));
	meet();
	/* Non-blocking, with as much as goes. */
	set_nonblocking(fd, true);
	size_t done = 0;
	at = 0;
	while (done < 5l * SIZE) {
		long sent = sendfile(fd, source, &at, SIZE - at);
		if (sent > 0) {
			done += sent;
			if (at == SIZE)
				at = 0;
			continue;
		}
		CHECK(errno == EAGAIN);
		struct pollfd one = {fd, POLLOUT, 0};
		CHECK(poll(&one, 1, 20000) == 1);
	}
	say("done %d", done == 5l * SIZE);
	TRY(close(fd));
	TRY(sendfile(fd, source, NULL, 10));
}

void bob(void)
{
	int fd = pair_up();
	recv_all(fd, in, SIZE + 11);
	say_bytes("in", in, SIZE + 11);
	CHECK(is_fill(in + 6, SIZE, 1, 0));
	recv_all(fd, in, 513);
	say_bytes("in", in, 513);
	meet();
	nap_ms(100);
	for (int i = 0; i < 5; i++) {
		recv_all(fd, in, SIZE);
		CHECK(is_fill(in, SIZE, 1, 0));
	}
	TRY(recv(fd, in, 1, 0));
}
