/* sendmmsg and recvmmsg. */
#include "case.h"

static char data[1000], in[1000];

void alice(void)
{
	int fd = pair_up();
	struct iovec parts[4];
	struct mmsghdr messages[4];
	memset(messages, 0, sizeof messages);
	fill(data, sizeof data, 1, 0);
	for (int i = 0; i < 4; i++) {
		parts[i] = (struct iovec){data + i * 100, 100};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	TRY(sendmmsg(fd, messages, 4, 0));
	for (int i = 0; i < 4; i++)
		say("sent %u", messages[i].msg_len);
	TRY(sendmmsg(fd, messages, 0, 0));
	meet();
	meet();
	settle_asleep(peer_pid());
	TRY(send(fd, data, 30, 0));
	TRY(recv(fd, in, 1, MSG_WAITALL));
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	struct iovec parts[4];
	struct mmsghdr messages[4];
	struct timespec time = {0, 100000000};
	memset(messages, 0, sizeof messages);
	for (int i = 0; i < 4; i++) {
		parts[i] = (struct iovec){in + i * 150, 150};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	meet();
	settle_readable(fd, 400);
	int got = TRY(recvmmsg(fd, messages, 4, MSG_DONTWAIT, NULL));
	for (int i = 0; i < got; i++)
		say("got %u", messages[i].msg_len);
	say_bytes("in", in, 400);
	TRY(recvmmsg(fd, messages, 4, MSG_DONTWAIT, NULL));
	meet();
	got = TRY(recvmmsg(fd, messages, 4, MSG_WAITFORONE, NULL));
	say("got %u", messages[0].msg_len);
	TRY(send(fd, "x", 1, 0));
	settle_fin(fd);
	got = TRY(recvmmsg(fd, messages, 2, 0, &time));
	for (int i = 0; i < got; i++)
		say("got %u", messages[i].msg_len);
}
