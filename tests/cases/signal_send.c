/* A signal in a blocking send: what was written so far, or EINTR when nothing was. */
#include "case.h"

static char data[8 << 20], in[1 << 16];
static volatile int caught;

static void handler(int number)
{
	(void)number;
	caught++;
}

void alice(void)
{
	int fd = pair_up();
	on_signal(SIGUSR1, handler, 0);
	fill(data, sizeof data, 1, 0);
	/* More than both buffers take: this blocks with a part done. */
	size_t sum = 0;
	long sent = 0;
	for (int i = 0; i < 100; i++) {
		sent = send(fd, data, sizeof data, 0);
		if (sent != sizeof data)
			break;
		sum += sent;
	}
	say("partial: %d, caught %d", sent > 0 && sent < (long)sizeof data, caught);
	sum += sent;
	/* Full now: this blocks with nothing done. The kernel may still find a little room, so up to it. */
	caught = 0;
	post(0);
	while ((sent = send(fd, data, 1000, 0)) > 0)
		sum += sent;
	say("full: %s, caught %d", errno_name(errno), caught > 0);
	give(0, sum);
	post(1);
	/* With SA_RESTART it goes on by itself. */
	on_signal(SIGUSR1, handler, SA_RESTART);
	meet();
	TRY(send(fd, data, sizeof data, 0) > 0);
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	settle_asleep(peer_pid());
	MUST(kill(peer_pid(), SIGUSR1));
	await(0);
	while (!posted(1)) {
		settle_asleep(peer_pid());
		if (!posted(1))
			MUST(kill(peer_pid(), SIGUSR1));
		nap_ms(5);
	}
	long want = take(0), sum = 0;
	meet();
	while (sum < want) {
		long got = MUST(recv(fd, in, want - sum < (long)sizeof in ? want - sum : (long)sizeof in, 0));
		CHECK(got > 0);
		sum += got;
	}
	say("all: %d", sum == want);
	/* The rest is the restarted send's. */
	for (sum = 0; sum < (long)sizeof data;) {
		long got = MUST(recv(fd, in, sizeof in, 0));
		CHECK(got > 0 && is_fill(in, got, 1, sum));
		sum += got;
	}
	meet();
	TRY(recv(fd, in, 1, 0));
}
