/* A vfork child closes its descriptors, opens sockets of its own at their numbers, and executes: its parent keeps what it had. */
#include "case.h"
static char in[4096];
void alice(void)
{
	int fd = pair_up();
	char out[3000];
	fill(out, sizeof out, 1, 0);
	send_all(fd, out, 2000);
	post(3);
	await(1);
	send_all(fd, out + 2000, 1000);
	await(2);
	close(fd);
}
void bob(void)
{
	int fd = pair_up(), status;
	char out[3000];
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fill(out, sizeof out, 2, 0);
	await(3);
	pid_t child = vfork();
	if (child == 0) {
		for (int i = 3; i < 100; i++)
			close(i);
		while (socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) < fd)
			;
		execl("/bin/true", "true", (char *)0);
		_exit(9);
	}
	waitpid(child, &status, 0);
	say_status("child", status);
	post(1);
	nap_ms(100);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	say("poll %d", poll(&p, 1, 3000));
	long n = recv(fd, in, 3000, MSG_DONTWAIT | MSG_WAITALL);
	say("got %ld %s", n, n < 0 ? errno_name(errno) : "");
	say("intact %d", is_fill(in, 3000, 1, 0));
	post(2);
	close(fd);
}
