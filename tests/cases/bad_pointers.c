/* Addresses that are not there: EFAULT, not a crash; and what a call had done before it met one. */
#include "case.h"

static char in[100];
/* Not constants to the compiler. */
static void *volatile nowhere = (void *)8, *volatile nowhere2 = (void *)8, *volatile none, *volatile beyond = (void *)-1;

void alice(void)
{
	int fd = pair_up();
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(mprotect(page + 4096, 4096, PROT_NONE));
	memset(page, 'a', 4096);
	TRY(send(fd, page + 4096, 10, 0));
	TRY(write(fd, none, 10));
	TRY(send(fd, beyond, 10, MSG_DONTWAIT));
	struct iovec parts[2] = {{page, 10}, {page + 4096, 10}};
	TRY(writev(fd, nowhere, 2));
	TRY(sendmsg(fd, nowhere, 0));
	TRY(recv(fd, in, 1, MSG_DONTWAIT));
	meet();
	meet();
	settle_readable(fd, 10);
	TRY(recv(fd, page + 4096, 5, 0));
	TRY(read(fd, none, 5));
	TRY(recvmsg(fd, nowhere, 0));
	TRY(readv(fd, nowhere, 2));
	say_bytes("in", in, TRY(recv(fd, in, 100, 0)));
	TRY(poll(nowhere, 1, 0));
	TRY(epoll_ctl(MUST(epoll_create1(0)), EPOLL_CTL_ADD, fd, nowhere));
	TRY(getsockopt(fd, SOL_SOCKET, SO_ERROR, nowhere, nowhere2));
	TRY(ioctl(fd, FIONREAD, nowhere));
	(void)parts;
	TRY(send(fd, "end", 3, 0));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	TRY(send(fd, "0123456789", 10, 0));
	meet();
	say_rest(fd);
}
