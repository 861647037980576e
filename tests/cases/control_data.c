/* recvmsg's control data and flags on a stream; SO_TIMESTAMP; MSG_ERRQUEUE; SCM_RIGHTS on TCP; bad lengths. */
#include "case.h"

static char in[1000];

/* The kernel turns its clock on by and by. */
static void clock_is_on(void)
{
	struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof self;
	int udp = MUST(socket(AF_INET, SOCK_DGRAM, 0)), on = 1;
	MUST(bind(udp, (void *)&self, sizeof self));
	MUST(getsockname(udp, (void *)&self, &size));
	MUST(setsockopt(udp, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on));
	struct timespec sent, stamp = {0};
	do {
		char room[CMSG_SPACE(sizeof stamp)] = "";
		struct msghdr message = {.msg_control = room, .msg_controllen = sizeof room};
		nap_ms(10);
		clock_gettime(CLOCK_REALTIME, &sent);
		MUST(sendto(udp, "", 0, 0, (void *)&self, sizeof self));
		nap_ms(10); /* a stamp made at the look would be later than that */
		MUST(recvmsg(udp, &message, 0));
		struct cmsghdr *data = CMSG_FIRSTHDR(&message);
		if (data)
			memcpy(&stamp, CMSG_DATA(data), sizeof stamp);
	} while ((stamp.tv_sec - sent.tv_sec) * 1000000000L + stamp.tv_nsec - sent.tv_nsec > 9000000L);
	MUST(close(udp));
}

void alice(void)
{
	int fd = pair_up();
	char room[CMSG_SPACE(sizeof fd)] = "";
	struct iovec part = {"hello", 5};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	TRY(sendmsg(fd, &message, 0));
	message.msg_control = room;
	message.msg_controllen = sizeof room;
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	*head = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(head), &fd, sizeof fd);
	TRY(sendmsg(fd, &message, 0));
	head->cmsg_type = 77;
	TRY(sendmsg(fd, &message, 0));
	TRY(recv(fd, in, 1, MSG_ERRQUEUE));
	TRY(send(fd, "again", 5, 0));
	meet();
	meet();
	TRY(send(fd, "timed", 5, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	int fd = pair_up(), on = 1;
	char room[200];
	struct iovec part = {in, sizeof in};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room,
				 .msg_flags = 0x5555};
	meet();
	settle_readable(fd, 15);
	TRY(recvmsg(fd, &message, MSG_PEEK));
	say("flags %#x, control %zu", message.msg_flags, message.msg_controllen);
	message.msg_controllen = sizeof room;
	TRY(recvmsg(fd, &message, MSG_CMSG_CLOEXEC));
	say("flags %#x, control %zu", message.msg_flags, message.msg_controllen);
	message.msg_controllen = sizeof room;
	TRY(recvmsg(fd, &message, MSG_ERRQUEUE));
	say("flags %#x", message.msg_flags & ~MSG_ERRQUEUE);
	TRY(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
	clock_is_on();
	meet();
	meet();
	settle_readable(fd, 5);
	message.msg_controllen = sizeof room;
	TRY(recvmsg(fd, &message, 0));
	say("flags %#x, control %zu", message.msg_flags, message.msg_controllen);
	TRY(close(fd));
}
