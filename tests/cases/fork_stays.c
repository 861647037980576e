/* Of several holders some are gone, and one is not: the connection lives until that one ends, and then ends as it should. */
#include "case.h"

enum { CHILD, GRANDCHILD, NAMESPACE, IMAGE, WAYS };
static char in[100];

/* A holder that outlives its parent's close; it ends by a close of its own. */
static void outlive(int fd, int way)
{
	await(way * 2);
	send_all(fd, "still", 5);
	recv_all(fd, in, 5);
	await(way * 2 + 1);
	settle_readable(fd, 6);
	close(fd);
	_exit(0);
}

static void survive(int way)
{
	int fd = pair_up(), status, gate[2];
	MUST(fcntl(fd, F_SETFD, way == IMAGE ? 0 : FD_CLOEXEC));
	MUST(pipe2(gate, O_CLOEXEC));
	pid_t child = MUST(fork());
	if (!child) {
		pid_t grandchild = 0;
		close(gate[1]);
		if (way == IMAGE) {
			dup2(gate[0], 0);
			execl("/bin/cat", "cat", NULL);
			_exit(1);
		}
		if (way == NAMESPACE)
			/* Where that is allowed: elsewhere it says nothing new. */
			(void)!unshare(CLONE_NEWPID);
		if (way != CHILD && (grandchild = MUST(fork())))
			raise(SIGKILL);
		outlive(fd, way);
	}
	close(gate[0]);
	if (way == GRANDCHILD || way == NAMESPACE) {
		waitpid(child, &status, 0);
		say_status("child", status);
	}
	/* Others that are gone. */
	for (int i = 0; i < 20; i++) {
		pid_t other = MUST(fork());
		if (!other) {
			if (i % 2)
				execl("/bin/true", "true", NULL);
			raise(SIGKILL);
		}
		waitpid(other, &status, 0);
	}
	if (way == IMAGE)
		/* It is an image by now, or will be: wait until it reads. */
		settle_asleep(child);
	TRY(close(fd));
	post(way * 2);
	meet();
	meet();
	if (way == IMAGE) {
		close(gate[1]);
		waitpid(child, &status, 0);
		say_status("image", status);
	}
	meet();
	if (way == CHILD) {
		waitpid(child, &status, 0);
		say_status("child", status);
	}
}

void alice(void)
{
	for (int way = 0; way < WAYS; way++)
		survive(way);
}

void bob(void)
{
	for (int way = 0; way < WAYS; way++) {
		int fd = pair_up();
		meet();
		if (way == IMAGE) {
			TRY(recv(fd, in, 1, MSG_DONTWAIT));
			meet();
			settle_fin(fd);
			TRY(recv(fd, in, 1, 0));
			meet();
			close(fd);
			continue;
		}
		meet();
		say_bytes("got", in, TRY(recv(fd, in, 5, MSG_WAITALL)));
		TRY(send(fd, "here!", 5, MSG_NOSIGNAL));
		TRY(send(fd, "unread", 6, MSG_NOSIGNAL));
		post(way * 2 + 1);
		settle_reset(fd);
		TRY(recv(fd, in, 1, 0));
		TRY(send(fd, "y", 1, MSG_NOSIGNAL));
		TRY(recv(fd, in, 1, MSG_DONTWAIT));
		meet();
		close(fd);
	}
}
