/* The lengths of addresses, which TCP has no use for: left alone where there is none, refused where they cannot be. */
#include "case.h"

void alice(void)
{
	int fd = pair_up();
	struct sockaddr_storage name = {0};
	meet();
	MUST(send(fd, "0123456789", 10, 0));
	meet();
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&name, sizeof name + 1));
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&name, -1));
	meet();
}

void bob(void)
{
	char in[10];
	struct sockaddr_storage name;
	struct iovec part = {in, 5};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_namelen = 16};
	int fd = pair_up();
	meet();
	settle_readable(fd, 10);
	TRY(recvmsg(fd, &message, 0));
	say("length %d", (int)message.msg_namelen);
	message.msg_name = &name;
	message.msg_namelen = -1;
	TRY(recvmsg(fd, &message, MSG_DONTWAIT));
	socklen_t length = -1;
	TRY(recvfrom(fd, in, 3, 0, (struct sockaddr *)&name, &length));
	TRY(recv(fd, in, 10, MSG_DONTWAIT));
	meet();
	TRY(recv(fd, in, 10, MSG_DONTWAIT));
	meet();
}
