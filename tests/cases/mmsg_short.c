/* sendmmsg that does not find room for all: what follows a message sent in part is not sent. Many messages. pwritev2 that
 * may not wait. */
#include "case.h"

enum { MESSAGES = 12, EACH = 1000000, MANY = 1500 };

static char data[MESSAGES * EACH], in[MESSAGES * EACH];
static struct mmsghdr messages[MANY];
static struct iovec parts[MANY];

static void arrange(char *buffer, int count, int each)
{
	memset(messages, 0, sizeof messages);
	for (int i = 0; i < count; i++) {
		parts[i] = (struct iovec){buffer + i * each, each};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
}

void alice(void)
{
	int fd = pair_up();
	fill(data, sizeof data, 1, 0);
	arrange(data, MANY, 10);
	TRY(sendmmsg(fd, messages, MANY, 0));
	send_all(fd, data + 1024 * 10, (MANY - 1024) * 10);
	meet();
	meet();
	set_nonblocking(fd, true);
	arrange(data, MESSAGES, EACH);
	int sent = MUST(sendmmsg(fd, messages, MESSAGES, 0)), followed = 0;
	long sum = 0;
	for (int i = 0; i < sent; i++) {
		sum += messages[i].msg_len;
		followed += messages[i].msg_len < EACH && i + 1 < sent;
	}
	say("some: %d, short with others behind: %d", sum > 0, followed);
	give(0, sum);
	post(0);
	meet();
	set_nonblocking(fd, false);
	struct iovec all = {data, sizeof data};
	sum = MUST(pwritev2(fd, &all, 1, -1, RWF_NOWAIT));
	say("some: %d, all: %d", sum > 0, sum == sizeof data);
	give(1, sum);
	post(1);
	meet();
}

void bob(void)
{
	int fd = pair_up();
	meet();
	settle_readable(fd, MANY * 10);
	arrange(in, MANY, 10);
	TRY(recvmmsg(fd, messages, MANY, 0, NULL));
	say_bytes("in", in, MANY * 10);
	meet();
	await(0);
	recv_all(fd, in, take(0));
	say("as it was sent: %d", is_fill(in, take(0), 1, 0));
	meet();
	await(1);
	recv_all(fd, in, take(1));
	say("as it was sent: %d", is_fill(in, take(1), 1, 0));
	meet();
}
