/* Programs that close everything: close_range, closefrom, a loop; then they go on and make new connections. */
#include "case.h"

static void both(int way)
{
	int fd = pair_up();
	meet();
	int top = 3;
	switch (way) {
	case 0:
		TRY(close_range(3, ~0U, 0));
		break;
	case 1:
		closefrom(3);
		break;
	case 2:
		for (int i = 3; i < 1024; i++)
			close(i);
		break;
	case 3:
		TRY(close_range(fd, fd, 0));
		break;
	case 4:
		TRY(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC));
		TRY(fcntl(fd, F_GETFD));
		TRY(send(fd, "still open", 10, 0));
		char in[10];
		TRY(recv(fd, in, 10, MSG_WAITALL));
		close(fd);
		break;
	case 5:
		TRY(close_range(10, 5, 0));
		TRY(close_range(3, ~0U, 64));
		close(fd);
		break;
	}
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(fcntl(fd, F_GETFD));
	int first = MUST(open("/dev/null", O_RDONLY | O_CLOEXEC));
	say("the first free is %d", way < 3 ? first - top : 0);
	close(first);
	meet();
}

void alice(void)
{
	for (int way = 0; way < 6; way++)
		both(way);
}

void bob(void)
{
	char in[100];
	/* Only alice's end is closed by force; bob sees the end each time. */
	for (int way = 0; way < 6; way++) {
		int fd = pair_up();
		if (way == 4)
			TRY(send(fd, "0123456789", 10, 0));
		meet();
		if (way == 4)
			say_bytes("in", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
		TRY(recv(fd, in, 10, 0));
		close(fd);
		meet();
	}
}
