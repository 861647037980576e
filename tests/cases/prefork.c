/* A prefork server: the listener is inherited, each child accepts its own; and connections handed to a child by fork. */
#include "case.h"

enum { CHILDREN = 3, EACH = 3 };
static char in[1000];

static void echo(int fd)
{
	long got;
	warm(fd);
	while ((got = recv(fd, in, sizeof in, 0)) > 0)
		send_all(fd, in, got);
	close(fd);
}

void alice(void)
{
	for (int i = 0; i < CHILDREN * EACH + 3; i++) {
		int fd = pair_up();
		char out[1000];
		fill(out, sizeof out, i, 0);
		send_all(fd, out, sizeof out);
		recv_all(fd, in, sizeof in);
		CHECK(!memcmp(in, out, sizeof in));
		shutdown(fd, SHUT_WR);
		CHECK(recv(fd, in, 1, 0) == 0);
		close(fd);
	}
	say("done");
}

void bob(void)
{
	int status;
	for (int i = 0; i < CHILDREN; i++)
		if (!MUST(fork())) {
			for (int j = 0; j < EACH; j++)
				echo(joined());
			_exit(0);
		}
	for (int i = 0; i < CHILDREN; i++) {
		MUST(wait(&status));
		say_status("child", status);
	}
	/* Accepted by the parent, served by a child, as sshd and inetd do. */
	for (int i = 0; i < 3; i++) {
		int fd = joined();
		pid_t child = MUST(fork());
		if (!child) {
			close(listener());
			if (i == 1) {
				dup2(fd, 10);
				dup2(fd, 11);
				close(fd);
				fd = 10;
			}
			echo(fd);
			if (i == 1)
				close(11);
			_exit(0);
		}
		close(fd);
		waitpid(child, &status, 0);
		say_status("child", status);
	}
}
