/* SO_ZEROCOPY, which by itself changes nothing, and MSG_ZEROCOPY with the notice in the error queue. */
#include "case.h"
#include <linux/errqueue.h>

static char data[100000];

void alice(void)
{
	int fd = joined(), on = 1;
	TRY(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on));
	warm(fd);
	fill(data, sizeof data, 1, 0);
	send_all(fd, data, 1000);
	TRY(send(fd, data + 1000, 50000, MSG_ZEROCOPY));
	TRY(send(fd, data + 51000, 49000, 0));
	struct pollfd one = {fd, 0, 0};
	TRY(poll(&one, 1, 10000));
	say_poll("notice", one.revents);
	char room[200];
	struct msghdr message = {.msg_control = room, .msg_controllen = sizeof room};
	TRY(recvmsg(fd, &message, MSG_ERRQUEUE));
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	struct sock_extended_err *notice = (void *)CMSG_DATA(head);
	say("origin %d, from %u to %u", notice->ee_origin, notice->ee_info, notice->ee_data);
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	recv_all(fd, data, 100000);
	say("all: %d", is_fill(data, 100000, 1, 0));
	TRY(recv(fd, data, 1, 0));
}
