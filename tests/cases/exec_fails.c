/* exec fails in the one holder: the connection goes on, and a kill with bytes unread resets it as ever. */
#include "case.h"
static char in[70000];
void alice(void)
{
	int fd = pair_up();
	meet();
	for (int i = 0; i < 300; i++) {
		recv_all(fd, in, 100);
		send_all(fd, in, 100);
	}
	CHECK(recv(fd, in, 1, 0) == 0);
	close(fd);
	fd = pair_up();
	meet();
	/* it is killed with bytes unread */
	send_all(fd, in, 1000);
	post(1);
	await(2);
	nap_ms(300);
	long n = recv(fd, in, 1, 0);
	say("%ld %s", n, n < 0 ? errno_name(errno) : "");
	close(fd);
}
void bob(void)
{
	int status;
	int fd = pair_up();
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	execl("/nowhere", "x", (char *)0);
	char *v[] = {"x", NULL};
	execv("/nowhere", v);
	meet();
	for (int i = 0; i < 300; i++) {
		send_all(fd, in, 100);
		recv_all(fd, in, 100);
	}
	close(fd);
	pid_t child = MUST(fork());
	if (!child) {
		fd = pair_up();
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		execv("/nowhere", v);
		meet();
		await(1);
		kill(getpid(), SIGKILL);
	}
	waitpid(child, &status, 0);
	say_status("child", status);
	post(2);
}
