/* MSG_PEEK: shows, never takes; with WAITALL, with vectors, blocking, at the end. */
#include "case.h"

static char in[4096];

void alice(void)
{
	int fd = pair_up();
	char data[1000];
	fill(data, sizeof data, 1, 0);
	send_all(fd, data, 500);
	meet();
	meet();
	settle_asleep(peer_pid());
	send_all(fd, data + 500, 300);
	meet();
	settle_asleep(peer_pid());
	send_all(fd, data + 800, 100);
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up(), there;
	struct iovec parts[2] = {{in, 3}, {in + 3, 200}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	meet();
	settle_readable(fd, 500);
	say_bytes("5", in, TRY(recv(fd, in, 5, MSG_PEEK)));
	say_bytes("all", in, TRY(recv(fd, in, sizeof in, MSG_PEEK)));
	say_bytes("again", in, TRY(recv(fd, in, sizeof in, MSG_PEEK)));
	say_bytes("waitall", in, TRY(recv(fd, in, 400, MSG_PEEK | MSG_WAITALL)));
	say_bytes("vectors", in, TRY(recvmsg(fd, &message, MSG_PEEK)));
	TRY(ioctl(fd, FIONREAD, &there));
	say("there %d", there);
	say_bytes("take", in, TRY(recv(fd, in, 100, 0)));
	say_bytes("peek", in, TRY(recv(fd, in, sizeof in, MSG_PEEK | MSG_DONTWAIT)));
	say_bytes("take", in, TRY(recv(fd, in, sizeof in, 0)));
	TRY(recv(fd, in, sizeof in, MSG_PEEK | MSG_DONTWAIT));
	meet();
	/* Blocks until there is something. */
	say_bytes("blocking", in, TRY(recv(fd, in, 300, MSG_PEEK)));
	say_bytes("take", in, TRY(recv(fd, in, 200, MSG_WAITALL)));
	meet();
	/* WAITALL with PEEK waits for all of it. */
	say_bytes("waitall", in, TRY(recv(fd, in, 200, MSG_PEEK | MSG_WAITALL)));
	say_bytes("take", in, TRY(recv(fd, in, 200, MSG_WAITALL)));
	meet();
	settle_fin(fd);
	TRY(recv(fd, in, 1, MSG_PEEK));
	TRY(recv(fd, in, 1, MSG_PEEK | MSG_WAITALL));
	TRY(recv(fd, in, 1, 0));
}
