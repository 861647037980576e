/* One thread writes while another reads, on both sides, many MiB: no deadlock, every byte. */
#include "case.h"

enum { SUM = 24 << 20, CHUNK = 100000 };
static int fd;

static void *writer(void *unused)
{
	static char data[CHUNK];
	(void)unused;
	for (size_t done = 0; done < SUM;) {
		size_t size = SUM - done < CHUNK ? SUM - done : CHUNK;
		fill(data, size, 1 + is_alice, done);
		CHECK(send(fd, data, size, 0) == (long)size);
		done += size;
	}
	MUST(shutdown(fd, SHUT_WR));
	return NULL;
}

static void both(void)
{
	fd = pair_up();
	pthread_t other = thread(writer, NULL);
	static char in[CHUNK];
	size_t done = 0;
	long got;
	while ((got = MUST(recv(fd, in, sizeof in, 0))) > 0) {
		CHECK(is_fill(in, got, 1 + !is_alice, done));
		done += got;
	}
	pthread_join(other, NULL);
	say("all: %d", done == SUM);
	TRY(close(fd));
}

void alice(void)
{
	both();
}

void bob(void)
{
	both();
}
