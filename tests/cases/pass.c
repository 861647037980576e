/* SCM_RIGHTS: a moved connection handed to another process, with the shim and without it; the giver keeps or closes. */
#include "case.h"

static char in[100];

static void give_away(int to, int fd)
{
	char byte = 'x', room[CMSG_SPACE(sizeof fd)] = "";
	struct iovec part = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	*head = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(head), &fd, sizeof fd);
	/* Said nothing of: who gets it speaks at the same time. */
	CHECK(sendmsg(to, &message, 0) == 1);
}

static int receive(int from)
{
	int fd;
	char byte, room[CMSG_SPACE(sizeof fd)] = "";
	struct iovec part = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	CHECK(recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

static void use(int fd)
{
	say_bytes("unread", in, TRY(recv(fd, in, 15, MSG_WAITALL)));
	TRY(send(fd, "receiver", 8, 0));
	say_bytes("then", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
}

/* The receiver, with or without the shim. */
void again(int from)
{
	int fd = receive(from);
	post(10);
	use(fd);
	close(fd);
	TRY(recv(fd, in, 1, 0));
}

void alice(void)
{
	for (int round = 0; round < 3; round++) {
		int pairs[2], status;
		MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs));
		int fd = pair_up();
		meet();
		settle_readable(fd, 20);
		TRY(recv(fd, in, 5, 0));
		TRY(send(fd, "giver", 5, 0));
		if (round < 2) {
			pid_t child = MUST(fork());
			if (!child)
				exec_again(pairs[1], round);
			close(pairs[1]);
			give_away(pairs[0], fd);
			if (round)
				close(fd);
			waitpid(child, &status, 0);
			say_status("child", status);
			if (!round) {
				/* Kept: still usable here. */
				TRY(send(fd, "giver", 5, 0));
				TRY(recv(fd, in, 1, MSG_DONTWAIT));
				close(fd);
			}
		} else {
			/* To itself: a second number for one endpoint. */
			give_away(pairs[0], fd);
			close(fd);
			fd = receive(pairs[1]);
			use(fd);
			TRY(send(fd, "giver", 5, 0));
			close(fd);
			close(pairs[1]);
		}
		close(pairs[0]);
	}
}

void bob(void)
{
	for (int round = 0; round < 3; round++) {
		int fd = pair_up();
		TRY(send(fd, "0123456789abcdefghij", 20, 0));
		meet();
		say_bytes("in", in, TRY(recv(fd, in, 13, MSG_WAITALL)));
		TRY(send(fd, "0123456789", 10, 0));
		say_rest(fd);
		close(fd);
	}
}
