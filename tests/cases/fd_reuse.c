/* A number closed and taken at once by another connection, a file, a pipe; hundreds of times. */
#include "case.h"

static char in[100];

void alice(void)
{
	int fd = pair_up(), number = fd;
	for (int i = 0; i < 20; i++) {
		char text[32];
		int length = snprintf(text, sizeof text, "round %d", i);
		send_all(fd, text, length);
		recv_all(fd, in, length);
		CHECK(!memcmp(in, text, length));
		close(fd);
		/* Something else has the number for a moment. */
		int other = i % 2 ? eventfd(0, EFD_CLOEXEC) : open("/dev/zero", O_RDONLY | O_CLOEXEC);
		CHECK(other == number);
		struct pollfd one = {other, POLLIN, 0};
		CHECK(poll(&one, 1, 0) == !(i % 2));
		if (i % 2)
			CHECK(recv(other, in, 1, 0) < 0 && errno == ENOTSOCK);
		else
			CHECK(read(other, in, 1) == 1 && in[0] == 0);
		close(other);
		fd = i % 4 == 3 ? pair_up() : joined();
		CHECK(fd == number);
	}
	close(fd);
	say("done");
}

void bob(void)
{
	int fd = pair_up();
	for (int i = 0; i < 20; i++) {
		long got;
		while ((got = MUST(recv(fd, in, sizeof in, 0))) > 0)
			send_all(fd, in, got);
		close(fd);
		fd = i % 4 == 3 ? pair_up() : joined();
	}
	TRY(recv(fd, in, 1, 0));
}
