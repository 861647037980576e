/* closefrom where close_range is not known, or forbidden, as in old containers: it closes all the same. */
#include "case.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static void refuse_close_range(int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, filter};
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void child(int fd, int error)
{
	int open_still = 0;
	refuse_close_range(error);
	for (int i = 0; i < 10; i++)
		MUST(open("/dev/null", O_RDONLY));
	closefrom(fd);
	for (int i = fd; i < fd + 12; i++)
		open_still += fcntl(i, F_GETFD) >= 0;
	say("still open: %d", open_still);
	_exit(0);
}

void alice(void)
{
	char in[1];
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		say("recv %ld", (long)recv(fd, in, 1, 0));
		close(fd);
	}
}

void bob(void)
{
	int errors[] = {ENOSYS, EPERM}, status;
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		pid_t pid = MUST(fork());
		if (!pid)
			child(fd, errors[i]);
		close(fd);
		waitpid(pid, &status, 0);
		say_status("child", status);
	}
}
