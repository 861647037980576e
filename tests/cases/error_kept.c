/* An error belongs to the first call that has nothing else to tell: not to one that has bytes, nor to a look. */
#include "case.h"

static char in[100];

void alice(void)
{
	/* Told by a send, by SO_ERROR, by the next receive, by recvmmsg; after part of what was asked for. */
	for (int i = 0; i < 4; i++) {
		int fd = broken_pair();
		say_bytes("part", in, TRY(recv(fd, in, 20, MSG_WAITALL)));
		struct mmsghdr one = {.msg_hdr = {.msg_iov = &(struct iovec){in, 10}, .msg_iovlen = 1}};
		if (i == 0)
			TRY(send(fd, "x", 1, MSG_NOSIGNAL));
		else if (i == 1)
			say("error %s", errno_name(socket_error(fd)));
		else if (i == 2)
			TRY(recv(fd, in, 1, 0));
		else
			TRY(recvmmsg(fd, &one, 1, 0, NULL));
		say("error %d", socket_error(fd));
		TRY(recv(fd, in, 1, 0));
		TRY(close(fd));
	}
	/* Before what is left: recvmmsg, a send. */
	for (int i = 0; i < 2; i++) {
		int fd = broken_pair();
		TRY(recv(fd, in, 3, 0));
		struct mmsghdr one = {.msg_hdr = {.msg_iov = &(struct iovec){in, 10}, .msg_iovlen = 1}};
		if (i)
			TRY(recvmmsg(fd, &one, 1, 0, NULL));
		else
			TRY(send(fd, "x", 1, MSG_NOSIGNAL));
		TRY(recv(fd, in, 100, 0));
		TRY(recv(fd, in, 1, 0));
		TRY(close(fd));
	}
	/* Behind a peek. */
	int peeked = broken_pair();
	TRY(recv(peeked, in, 20, MSG_PEEK | MSG_DONTWAIT));
	say("error %s", errno_name(socket_error(peeked)));
	TRY(close(peeked));
	/* Once it is told: the bytes, message by message. */
	int more = broken_pair();
	struct mmsghdr two[3] = {{.msg_hdr = {.msg_iov = &(struct iovec){in, 6}, .msg_iovlen = 1}},
				 {.msg_hdr = {.msg_iov = &(struct iovec){in, 6}, .msg_iovlen = 1}},
				 {.msg_hdr = {.msg_iov = &(struct iovec){in, 6}, .msg_iovlen = 1}}};
	say("error %s", errno_name(socket_error(more)));
	TRY(recvmmsg(more, two, 3, 0, NULL));
	TRY(close(more));
	/* The error of an emulated call is its own. */
	int fd = pair_up(), pipes[2], low = 10;
	MUST(pipe(pipes));
	set_nonblocking(fd, true);
	TRY(splice(fd, NULL, pipes[1], NULL, 5, 0));
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
	TRY(splice(fd, NULL, pipes[1], NULL, 5, 0));
	TRY(close(fd));
}

void bob(void)
{
	for (int i = 0; i < 8; i++)
		broken_pair();
	int fd = pair_up();
	TRY(recv(fd, in, 1, 0));
}
