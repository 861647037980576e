/* Odd sizes on both sides, blocking, over many wraps of any ring; both directions, one after the other. */
#include "case.h"

enum { SUM = 3000000 };
static char data[20000];

static void write_odd(int fd, uint32_t tag)
{
	uint32_t random = tag;
	for (size_t done = 0; done < SUM;) {
		random = random * 1664525 + 1013904223;
		size_t size = (random >> 8) % sizeof data + 1;
		if (size > SUM - done)
			size = SUM - done;
		fill(data, size, tag, done);
		/* A blocking write of a stream socket is never short. */
		CHECK(write(fd, data, size) == (long)size);
		done += size;
	}
	say("wrote all");
}

static void read_odd(int fd, uint32_t tag)
{
	uint32_t random = tag * 77;
	for (size_t done = 0; done < SUM;) {
		random = random * 1664525 + 1013904223;
		size_t size = (random >> 8) % (random & 64 ? 100 : sizeof data) + 1;
		long got = MUST(read(fd, data, size));
		CHECK(got > 0 && is_fill(data, got, tag, done));
		done += got;
	}
	say("read all");
}

void alice(void)
{
	int fd = pair_up();
	write_odd(fd, 1);
	read_odd(fd, 2);
	TRY(shutdown(fd, SHUT_WR));
	say_rest(fd);
}

void bob(void)
{
	int fd = pair_up();
	read_odd(fd, 1);
	write_odd(fd, 2);
	say_rest(fd);
}
