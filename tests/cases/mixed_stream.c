/* Both directions at once, in pieces of any size, by every call, with pauses: the stream goes to and fro between the
 * carriers, and each byte is in its place. */
#include "case.h"

enum { SUM = 12 << 20, MOST = 1 << 19 };
static int fd;

static unsigned next(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static size_t size_of_next(unsigned *seed, size_t small)
{
	return 1 + next(seed) % (next(seed) % 4 ? small : MOST);
}

/* Cuts a buffer into up to 40 pieces. */
static int cut(struct iovec *parts, char *data, size_t size, unsigned *seed)
{
	int count = 0;
	for (size_t at = 0; count < 40 && at < size; count++) {
		size_t length = next(seed) % 700;
		length = length > size - at ? size - at : length;
		parts[count] = (struct iovec){data + at, length};
		at += length;
	}
	return count;
}

static void *writer(void *unused)
{
	static char data[MOST];
	unsigned seed = 7 + is_alice;
	struct iovec parts[40];
	(void)unused;
	for (size_t at = 0; at < SUM;) {
		size_t size = size_of_next(&seed, 3000), done = 0;
		size = size > SUM - at ? SUM - at : size;
		fill(data, size, 1 + is_alice, at);
		while (done < size) {
			long sent;
			switch (next(&seed) % 5) {
			case 0:
				sent = send(fd, data + done, size - done, MSG_DONTWAIT);
				break;
			case 1:
				sent = writev(fd, parts, cut(parts, data + done, size - done, &seed));
				break;
			case 2:
				sent = send(fd, data + done, size - done, MSG_MORE);
				break;
			default:
				sent = write(fd, data + done, size - done);
			}
			if (sent < 0) {
				struct pollfd one = {fd, POLLOUT, 0};
				CHECK(errno == EAGAIN && poll(&one, 1, 20000) == 1);
			} else
				done += sent;
		}
		at += size;
		if (next(&seed) % 200 == 0)
			nap_ms(next(&seed) % 15);
	}
	MUST(shutdown(fd, SHUT_WR));
	return NULL;
}

static void reader(void)
{
	static char data[MOST];
	unsigned seed = 70 + is_alice;
	struct iovec parts[40];
	size_t at = 0;
	for (;;) {
		size_t size = size_of_next(&seed, 5000);
		struct pollfd one = {fd, POLLIN, 0};
		long got = 0;
		bool seen = true, kept = false;
		switch (next(&seed) % 7) {
		case 0:
			got = recv(fd, data, size, MSG_PEEK);
			kept = true;
			break;
		case 1:
			got = recv(fd, data, size, MSG_DONTWAIT);
			break;
		case 2:
			got = recv(fd, data, 1 + size % 60000, MSG_WAITALL);
			break;
		case 3:
			CHECK(poll(&one, 1, 20000) == 1);
			got = recv(fd, data, size, MSG_DONTWAIT);
			break;
		case 4:
			got = recv(fd, NULL, 1 + size % 3000, MSG_TRUNC);
			seen = false;
			break;
		case 5: {
			int count = cut(parts, data, size, &seed);
			size_t room = 0;
			for (int i = 0; i < count; i++)
				room += parts[i].iov_len;
			if (!room)
				continue;
			got = readv(fd, parts, count);
			break;
		}
		default:
			got = read(fd, data, size);
		}
		if (got < 0) {
			CHECK(errno == EAGAIN);
			sched_yield();
			continue;
		}
		CHECK(!seen || is_fill(data, got, 1 + !is_alice, at));
		if (!got)
			break;
		at += kept ? 0 : got;
		if (next(&seed) % 300 == 0)
			nap_ms(next(&seed) % 25);
	}
	say("all: %d", at == SUM);
}

static void both(void)
{
	fd = pair_up();
	pthread_t other = thread(writer, NULL);
	reader();
	pthread_join(other, NULL);
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
