/* An error that waits is met by calls that come to send, not by those whose input has nothing for them. */
#include "case.h"

enum { INPUTS = 7 };

static void send_from(int which, int fd)
{
	int none = MUST(memfd_create("none", 0)), one = MUST(memfd_create("one", 0)), pipes[2], ended[2];
	off_t at = 0;
	MUST(write(one, "o", 1));
	MUST(pipe2(pipes, O_NONBLOCK));
	MUST(pipe(ended));
	MUST(close(ended[1]));
	switch (which) {
	case 0:
		TRY(sendfile(fd, 999, NULL, 5));
		break;
	case 1:
		TRY(sendfile(fd, none, &at, 5));
		break;
	case 2:
		TRY(sendfile(fd, none, &at, 0));
		break;
	case 3:
		TRY(splice(pipes[0], NULL, fd, NULL, 5, SPLICE_F_NONBLOCK));
		break;
	case 4:
		TRY(splice(ended[0], NULL, fd, NULL, 5, 0));
		break;
	case 5:
		TRY(splice(none, NULL, fd, NULL, 5, 0));
		break;
	case 6:
		TRY(sendfile(fd, one, &at, 1));
		break;
	}
	say("error %s", errno_name(socket_error(fd)));
	int all[] = {none, one, pipes[0], pipes[1], ended[0], fd};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		MUST(close(all[i]));
}

void alice(void)
{
	static char in[100];
	/* Behind part of a receive. */
	for (int i = 0; i < INPUTS; i++) {
		int fd = broken_pair();
		say_bytes("part", in, TRY(recv(fd, in, 20, MSG_WAITALL)));
		send_from(i, fd);
	}
	/* Of a peer that is killed with a byte unread. */
	for (int i = 0; i < INPUTS; i++) {
		int fd = pair_up(), status;
		pid_t child = MUST(fork());
		while (!child)
			pause();
		MUST(close(fd));
		meet();
		meet();
		MUST(kill(child, SIGKILL));
		MUST(waitpid(child, &status, 0));
		meet();
	}
}

void bob(void)
{
	for (int i = 0; i < INPUTS; i++)
		broken_pair();
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < INPUTS; i++) {
		int fd = pair_up(), on = 1;
		MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
		meet();
		send_all(fd, "x", 1);
		meet();
		settle_reset(fd);
		send_from(i, fd);
		meet();
	}
}
