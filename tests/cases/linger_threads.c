/* A close that lingers in one thread: another may use the number, and fork, meanwhile. Also where the connection was inherited by an
 * image that is no more, and where it was passed and came back. */
#include "case.h"

static int fd;
static _Atomic int over;

static void *closes(void *unused)
{
	(void)unused;
	TRY(close(fd));
	over = 1;
	return NULL;
}

static void *uses(void *unused)
{
	char byte;
	int status;
	(void)unused;
	nap_ms(200);
	int other = MUST(open("/dev/zero", O_RDONLY));
	say("the same number: %d", other == fd);
	TRY(read(other, &byte, 1));
	pid_t child = MUST(fork());
	if (child == 0)
		_exit(0);
	MUST(waitpid(child, &status, 0));
	MUST(close(other));
	say("while it lingers: %d", !over);
	return NULL;
}

static void lingers(int way)
{
	static char out[65536];
	struct linger linger = {1, 3};
	fd = pair_up();
	if (way == 1) {
		pid_t child = MUST(fork());
		if (child == 0)
			execl("/bin/true", "true", (char *)0);
		MUST(waitpid(child, NULL, 0));
	}
	if (way == 2) {
		int ends[2];
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
		hand_out(ends[0], fd);
		MUST(close(take_in(ends[1])));
		MUST(close(ends[0]));
		MUST(close(ends[1]));
	}
	MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
	set_nonblocking(fd, true);
	for (int i = 0; i < 3; i++, nap_ms(20))
		while (send(fd, out, sizeof out, MSG_NOSIGNAL) > 0)
			;
	set_nonblocking(fd, false);
	over = 0;
	pthread_t closer = thread(closes, NULL), user = thread(uses, NULL);
	pthread_join(user, NULL);
	meet();
	pthread_join(closer, NULL);
	meet();
}

void alice(void)
{
	for (int way = 0; way < 3; way++)
		lingers(way);
}

void bob(void)
{
	static char in[65536];
	for (int way = 0; way < 3; way++) {
		int own = pair_up();
		meet();
		while (recv(own, in, sizeof in, 0) > 0)
			;
		meet();
		MUST(close(own));
	}
}
