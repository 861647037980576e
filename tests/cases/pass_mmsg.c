/* SCM_RIGHTS by sendmmsg on a socket that is nothing but a Unix one: the connection in it leaves the ring. */
#include "case.h"
void alice(void)
{
	int fd = pair_up();
	await(0);
	send_all(fd, "hello", 5);
	meet();
	close(fd);
}
void bob(void)
{
	int two[2], status;
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, two));
	pid_t child = MUST(fork());
	if (!child) {
		char b[6] = "";
		int fd = take_in(two[1]);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		post(0);
		say("poll %d", poll(&p, 1, 3000));
		long n = recv(fd, b, 5, MSG_DONTWAIT);
		say("got %ld %s", n, b);
		_exit(0);
	}
	int fd = pair_up();
	char byte = 'x', space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec piece = {&byte, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space}};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m.msg_hdr);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	CHECK(sendmmsg(two[0], &m, 1, 0) == 1);
	waitpid(child, &status, 0);
	say_status("child", status);
	meet();
	close(fd);
}
