/* A seccomp filter as narrow as sshd's: what is not on its list kills. Connections made before it, moved or not, and
 * with nothing unread, work on over TCP with the program's own calls and no others. */
#include "case.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static void confine(void)
{
	static const int allowed[] = {
		SYS_read,	   SYS_write,	      SYS_close,	 SYS_shutdown, SYS_poll,	  SYS_ppoll,
		SYS_select,	   SYS_pselect6,      SYS_futex,	 SYS_getpid,   SYS_gettid,	  SYS_exit_group,
		SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_brk,      SYS_mmap,	  SYS_munmap,
		SYS_madvise,	   SYS_getrandom,     SYS_sched_yield,	 SYS_rt_sigprocmask,
	};
	enum { count = sizeof allowed / sizeof *allowed };
	struct sock_filter filter[count + 3];
	struct sock_fprog program = { .len = count + 3, .filter = filter };
	filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (int i = 0; i < count; i++)
		filter[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], count - i, 0);
	filter[count + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	filter[count + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
}

static void trips(int fd, bool first)
{
	char byte = 'x';
	struct pollfd poll_in = { .fd = fd, .events = POLLIN };
	for (int i = 0; i < 100; i++) {
		if (first)
			CHECK(write(fd, &byte, 1) == 1);
		CHECK(poll(&poll_in, 1, -1) == 1);
		CHECK(read(fd, &byte, 1) == 1);
		if (!first)
			CHECK(write(fd, &byte, 1) == 1);
	}
}

void alice(void)
{
	char byte;
	/* One of them stays open to the end. */
	pair_up();
	int moved = pair_up(), fresh = joined();
	meet();
	confine();
	trips(moved, true);
	trips(fresh, true);
	TRY(shutdown(moved, SHUT_WR));
	TRY(read(moved, &byte, 1));
	TRY(close(moved));
	TRY(close(fresh));
}

void bob(void)
{
	char byte;
	int open = pair_up(), moved = pair_up(), fresh = joined();
	meet();
	trips(moved, false);
	trips(fresh, false);
	TRY(read(moved, &byte, 1));
	TRY(close(moved));
	TRY(read(fresh, &byte, 1));
	TRY(close(fresh));
	TRY(read(open, &byte, 1));
	TRY(close(open));
}
