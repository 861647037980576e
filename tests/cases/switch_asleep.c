/* A thread that has gone to sleep in a receive before the connection moves; the other direction carries a lot meanwhile,
 * and then the sleeper's bytes come. */
#include "case.h"

enum { WAYS = 6 };
static int fd;
static char in[100];

static void *sleeper(void *way)
{
	struct iovec part = {in, 5};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	struct mmsghdr messages = {.msg_hdr = message};
	struct pollfd one = {fd, POLLIN, 0};
	switch ((intptr_t)way) {
	case 0:
		say("recv: %ld", (long)recv(fd, in, 5, MSG_WAITALL));
		break;
	case 1:
		say("recvmmsg: %d", recvmmsg(fd, &messages, 1, 0, NULL));
		say("length %u", messages.msg_len);
		break;
	case 2:
		say("recvmsg: %ld", (long)recvmsg(fd, &message, 0));
		break;
	case 3:
		say("readv: %ld", (long)readv(fd, &part, 1));
		break;
	case 4:
		say("peek: %ld", (long)recv(fd, in, 5, MSG_PEEK));
		say("recv: %ld", (long)recv(fd, in, 5, 0));
		break;
	case 5:
		say("poll: %d", poll(&one, 1, 20000));
		say("recv: %ld", (long)recv(fd, in, 5, 0));
		break;
	}
	return NULL;
}

void alice(void)
{
	static char data[1000];
	for (intptr_t way = 0; way < WAYS; way++) {
		fd = joined();
		pthread_t other = thread(sleeper, (void *)way);
		for (int i = 0; i < 300; i++)
			send_all(fd, data, sizeof data);
		meet();
		pthread_join(other, NULL);
		say_bytes("in", in, 5);
		meet();
		close(fd);
	}
}

void bob(void)
{
	static char data[1000];
	for (int way = 0; way < WAYS; way++) {
		fd = joined();
		for (int i = 0; i < 300; i++)
			recv_all(fd, data, sizeof data);
		meet();
		TRY(send(fd, "01234", 5, 0));
		meet();
		close(fd);
	}
}
