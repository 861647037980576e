/* Options through which a stream's bytes, or their count, reach a program: TCP_INQ, TCP_ZEROCOPY_RECEIVE. And those that
 * are the socket's own, asked while it is moved. */
#include "case.h"

/* As linux/tcp.h, which cannot be included beside netinet/tcp.h, has it. */
struct zerocopy {
	uint64_t address;
	uint32_t length, recv_skip_hint, inq;
	int32_t err;
	uint64_t copybuf_address;
	int32_t copybuf_len;
	uint32_t flags;
	uint64_t msg_control, msg_controllen;
	uint32_t msg_flags, reserved;
};

static char in[100];

static void ask(const char *what, int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof value;
	if (getsockopt(fd, level, name, &value, &size) < 0)
		say("%s: %s", what, errno_name(errno));
	else
		say("%s: %d", what, value);
}

static void state(int fd)
{
	struct tcp_info info;
	socklen_t size = sizeof info;
	MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size));
	say("state %d", info.tcpi_state);
	ask("type", fd, SOL_SOCKET, SO_TYPE);
	ask("domain", fd, SOL_SOCKET, SO_DOMAIN);
	ask("protocol", fd, SOL_SOCKET, SO_PROTOCOL);
	ask("accepting", fd, SOL_SOCKET, SO_ACCEPTCONN);
	ask("error", fd, SOL_SOCKET, SO_ERROR);
	ask("keepalive", fd, SOL_SOCKET, SO_KEEPALIVE);
	ask("low water", fd, SOL_SOCKET, SO_RCVLOWAT);
	ask("no option", fd, SOL_SOCKET, 9999);
	int unsent = -1;
	settle_sent(fd);
	TRY(ioctl(fd, SIOCOUTQNSD, &unsent));
	say("unsent %d", unsent);
	say("socket %d, at the mark %d", isfdtype(fd, S_IFSOCK), sockatmark(fd));
}

void alice(void)
{
	int fd = pair_up();
	state(fd);
	TRY(send(fd, "0123456789", 10, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
	close(fd);
	fd = pair_up();
	TRY(send(fd, "0123456789", 10, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	int fd = pair_up(), on = 1;
	state(fd);
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_INQ, &on, sizeof on));
	meet();
	settle_readable(fd, 10);
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {in, 3};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	TRY(recvmsg(fd, &message, 0));
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	say("control data: %d", header != NULL);
	if (header)
		say("left: %d", *(int *)CMSG_DATA(header));
	say_bytes("rest", in, TRY(recv(fd, in, 100, 0)));
	close(fd);
	fd = pair_up();
	meet();
	settle_readable(fd, 10);
	struct zerocopy receive = {0};
	socklen_t size = sizeof receive;
	void *window = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	say("window: %d", window != MAP_FAILED);
	/* What was readable a moment ago may have to come another way now. */
	while (!receive.copybuf_len) {
		receive = (struct zerocopy){.address = (uintptr_t)window,
					    .length = 4096,
					    .copybuf_address = (uintptr_t)in,
					    .copybuf_len = sizeof in};
		MUST(getsockopt(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &receive, &size));
	}
	say("copied %d, to skip %u", receive.copybuf_len, receive.recv_skip_hint);
	say_bytes("rest", in, TRY(recv(fd, in, 100, MSG_DONTWAIT)));
}
