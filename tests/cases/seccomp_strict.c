/* Strict seccomp before the first read of a connection: read and write are all that is allowed, and all that is done. */
#include "case.h"
#include <linux/seccomp.h>
#include <sys/prctl.h>

void alice(void)
{
	char b[4];
	int fd = joined();
	send_all(fd, "abcd", 4);
	recv_all(fd, b, 4);
	say("%.4s", b);
	close(fd);
}
void bob(void)
{
	int status;
	int fd = joined();
	pid_t child = MUST(fork());
	if (!child) {
		char b[4];
		MUST(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0));
		bool done = read(fd, b, 4) == 4 && write(fd, b, 4) == 4;
		syscall(SYS_exit, done ? 3 : 7);
	}
	close(fd);
	waitpid(child, &status, 0);
	say_status("child", status);
}
