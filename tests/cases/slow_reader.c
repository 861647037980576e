/* A reader that stops for a while, again and again: the writer blocks, or polls, and nothing is lost; the stream goes to
 * and fro between the carriers. */
#include "case.h"

enum { SUM = 40 << 20 };
static char data[1 << 17];

static void write_all(int fd, int way)
{
	if (way)
		set_nonblocking(fd, true);
	for (size_t done = 0; done < SUM;) {
		size_t size = 1 + (done * 7919) % sizeof data;
		if (size > SUM - done)
			size = SUM - done;
		fill(data, size, way, done);
		long sent = send(fd, data, size, 0);
		if (sent > 0)
			done += sent;
		else {
			CHECK(way && errno == EAGAIN);
			struct pollfd one = {fd, POLLOUT, 0};
			CHECK(poll(&one, 1, 20000) == 1);
			CHECK(one.revents == POLLOUT);
		}
	}
}

static void read_all(int fd, int way)
{
	size_t done = 0, pause = 0;
	while (done < SUM) {
		size_t size = 1 + (done * 104729) % sizeof data;
		if (done > pause) {
			nap_ms(150);
			pause += 9 << 20;
		}
		long got = MUST(recv(fd, data, size, 0));
		CHECK(got > 0 && is_fill(data, got, way, done));
		done += got;
	}
	say("all");
}

void alice(void)
{
	int fd = pair_up();
	write_all(fd, 0);
	meet();
	read_all(fd, 0);
	meet();
	set_nonblocking(fd, false);
	warm(fd);
	write_all(fd, 1);
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	read_all(fd, 0);
	meet();
	write_all(fd, 0);
	meet();
	warm(fd);
	read_all(fd, 1);
	TRY(recv(fd, data, 1, 0));
}
