/* A vfork child puts one connection at the number of another, and executes: its parent keeps both. */
#include "case.h"
static char in[4096];
void alice(void)
{
	int a = pair_up(), b = pair_up();
	char got[16] = "";
	await(1);
	nap_ms(50);
	long n = recv(a, in, sizeof in, MSG_DONTWAIT);
	say("on a: %ld %s", n, n < 0 ? errno_name(errno) : "");
	recv_all(b, in, 3000);
	say("b intact %d", is_fill(in, 3000, 2, 0));
	TRY(send(b, "12345", 5, 0));
	TRY(send(a, "12345", 5, 0));
	n = recv(a, got, 2, 0);
	say("on a: %ld %.2s", n, got);
	close(a);
	close(b);
}
void bob(void)
{
	int a = pair_up(), b = pair_up(), status;
	char out[3000];
	fcntl(a, F_SETFD, FD_CLOEXEC);
	fcntl(b, F_SETFD, FD_CLOEXEC);
	fill(out, sizeof out, 2, 0);
	send_all(b, out, 3000);
	pid_t child = vfork();
	if (child == 0) {
		dup2(a, b);
		execl("/bin/true", "true", (char *)0);
		_exit(9);
	}
	waitpid(child, &status, 0);
	say_status("child", status);
	post(1);
	recv_all(b, in, 5);
	recv_all(a, in, 5);
	send_all(a, "ok", 2);
	CHECK(recv(a, in, 1, 0) == 0);
	close(a);
	close(b);
}
