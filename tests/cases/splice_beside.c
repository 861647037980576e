/* splice beside another reader of the same connection, and beside another splice: every byte comes out once. */
#include "case.h"

enum { TOTAL = 3000000, PIECE = 1000 };

static int fd;
static _Atomic long histogram[256];

static void count(const unsigned char *bytes, long length)
{
	for (long i = 0; i < length; i++)
		atomic_fetch_add_explicit(&histogram[bytes[i]], 1, memory_order_relaxed);
}

static void *splices(void *unused)
{
	static _Thread_local unsigned char in[32768];
	int pipes[2];
	MUST(pipe(pipes));
	for (;;) {
		long got = MUST(splice(fd, NULL, pipes[1], NULL, sizeof in, 0));
		if (got == 0)
			return unused;
		for (long done = 0; done < got;) {
			long some = MUST(read(pipes[0], in, sizeof in));
			count(in, some);
			done += some;
		}
	}
}

static void *receives(void *unused)
{
	static _Thread_local unsigned char in[512];
	for (;;) {
		long got = MUST(recv(fd, in, sizeof in, 0));
		if (got == 0)
			return unused;
		count(in, got);
	}
}

static void round_of(void *(*other)(void *))
{
	fd = pair_up();
	memset(histogram, 0, sizeof histogram);
	pthread_t one = thread(splices, NULL), two = thread(other, NULL);
	pthread_join(one, NULL);
	pthread_join(two, NULL);
	long sum = 0;
	uint64_t mix = 0;
	for (int i = 0; i < 256; i++) {
		sum += histogram[i];
		mix = mix * 0x100000001b3 + histogram[i];
	}
	say("bytes %ld, of these kinds: %016lx", sum, mix);
	MUST(close(fd));
}

void alice(void)
{
	round_of(receives);
	round_of(splices);
}

void bob(void)
{
	static char data[TOTAL];
	fill(data, sizeof data, 1, 0);
	for (int i = 0; i < 2; i++) {
		int out = pair_up();
		for (long sent = 0; sent < TOTAL; sent += PIECE)
			send_all(out, data + sent, PIECE);
		MUST(shutdown(out, SHUT_WR));
		say("end: %ld", (long)MUST(recv(out, data, 1, MSG_PEEK)));
		MUST(close(out));
	}
}
