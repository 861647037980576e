/* One process shuts down what another one reads from. */
#include "case.h"

static char in[10];

void alice(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		pid_t child = MUST(fork());
		if (!child) {
			await(2 * i);
			TRY(recv(fd, in, 1, MSG_DONTWAIT));
			TRY(recv(fd, in, 1, 0));
			TRY(recv(fd, in, 1, MSG_PEEK | MSG_DONTWAIT));
			_exit(0);
		}
		TRY(shutdown(fd, i ? SHUT_RDWR : SHUT_RD));
		post(2 * i);
		int status;
		MUST(waitpid(child, &status, 0));
		say_status("child", status);
		meet();
		TRY(close(fd));
	}
}

void bob(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = pair_up();
		meet();
		TRY(recv(fd, in, 1, 0));
		TRY(close(fd));
	}
}
