/* exec closes the connection, of which the process is the only holder, with and without bytes unread. An exec that fails
 * closes nothing. */
#include "case.h"

static char in[100];
static int gate[2];

static void last_words(int fd, bool unread)
{
	char *none[] = {NULL};
	struct linger linger;
	socklen_t len = sizeof linger;
	MUST(fcntl(fd, F_SETFD, FD_CLOEXEC));
	meet();
	settle_readable(fd, 6);
	TRY(execve("/nowhere", none, none));
	say_bytes("read", in, TRY(recv(fd, in, unread ? 3 : 6, 0)));
	TRY(send(fd, "still here", 10, 0));
	if (!unread) {
		meet();
		TRY(execve("/nowhere", none, none));
		MUST(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
		say("linger %d %d", linger.l_onoff, linger.l_linger);
		return;
	}
	meet();
	meet();
	/* It lives on, without the connection. */
	dup2(gate[0], 0);
	execl("/bin/cat", "cat", NULL);
}

void alice(void)
{
	int status;
	for (int way = 0; way < 3; way++) {
		MUST(pipe2(gate, O_CLOEXEC));
		pid_t child = MUST(fork());
		if (!child) {
			close(gate[1]);
			int fd = pair_up();
			if (way == 2) {
				last_words(fd, false);
				TRY(close(fd));
				_exit(0);
			}
			if (way == 1) {
				last_words(fd, true);
				_exit(1);
			}
			MUST(fcntl(fd, F_SETFD, FD_CLOEXEC));
			meet();
			dup2(gate[0], 0);
			execl("/bin/cat", "cat", NULL);
			_exit(1);
		}
		close(gate[0]);
		await(way);
		close(gate[1]);
		waitpid(child, &status, 0);
		say_status("child", status);
	}
}

void bob(void)
{
	for (int way = 0; way < 3; way++) {
		int fd = pair_up();
		if (way == 0) {
			meet();
			TRY(recv(fd, in, 1, 0));
			TRY(send(fd, "x", 1, MSG_NOSIGNAL));
			settle_reset(fd);
			TRY(send(fd, "y", 1, MSG_NOSIGNAL));
		} else {
			send_all(fd, "unread", 6);
			meet();
			meet();
			say_bytes("got", in, TRY(recv(fd, in, 10, MSG_WAITALL)));
			if (way == 1) {
				meet();
				settle_reset(fd);
			}
			TRY(recv(fd, in, 1, 0));
		}
		TRY(recv(fd, in, 1, 0));
		post(way);
		close(fd);
	}
}
