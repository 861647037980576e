/* A close that lingers in one thread: another may use the number, and fork, meanwhile. Also where the connection was inherited by an
 * image that is no more, where it was passed and came back, and where it is the end of a call that was inside. */
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

static void forks(void)
{
	pid_t child = MUST(fork());
	if (child == 0)
		_exit(0);
	MUST(waitpid(child, NULL, 0));
	say("while it lingers: %d", !over);
}

static void *uses(void *unused)
{
	char byte;
	(void)unused;
	while (fcntl(fd, F_GETFD) >= 0)
		nap_ms(1);
	int other = MUST(open("/dev/zero", O_RDONLY));
	say("the same number: %d", other == fd);
	TRY(read(other, &byte, 1));
	MUST(close(other));
	forks();
	return NULL;
}

static void *receives(void *unused)
{
	char byte;
	(void)unused;
	give(0, gettid());
	if (recv(fd, &byte, 1, 0) != 1)
		say("no byte");
	over = 1;
	return NULL;
}

/* Until the peer reads. */
static void fill_up(int seconds)
{
	static char out[65536];
	struct linger linger = {1, seconds};
	MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
	set_nonblocking(fd, true);
	for (int vain = 0; vain < 5; vain++, nap_ms(20))
		while (send(fd, out, sizeof out, MSG_NOSIGNAL) > 0)
			vain = 0;
	set_nonblocking(fd, false);
	over = 0;
}

static void lingers(int way)
{
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
	fill_up(3);
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
	fd = pair_up();
	/* A fork waits for nobody longer than a second. */
	fill_up(1);
	pthread_t receiver = thread(receives, NULL);
	while (!take(0))
		nap_ms(1);
	settle_asleep(take(0));
	TRY(close(fd));
	post(1);
	/* Nothing shows when that lingers: too early proves less. */
	nap_ms(200);
	forks();
	meet();
	pthread_join(receiver, NULL);
	meet();
}

void bob(void)
{
	static char in[65536];
	for (int way = 0; way < 4; way++) {
		int own = pair_up();
		if (way == 3) {
			await(1);
			MUST(send(own, "", 1, MSG_NOSIGNAL));
		}
		meet();
		while (recv(own, in, sizeof in, 0) > 0)
			;
		meet();
		MUST(close(own));
	}
}
