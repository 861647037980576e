/* O_NONBLOCK belongs to the socket: set through one descriptor, seen through its dup and in another process. */
#include "case.h"

static char in[100];

static void *late_reader(void *dup)
{
	long got = recv(*(int *)dup, in, 10, 0);
	say_bytes("late", in, got);
	return NULL;
}

void alice(void)
{
	int fd = pair_up(), other = MUST(dup(fd)), status;
	say("nonblocking %d", !!(MUST(fcntl(other, F_GETFL)) & O_NONBLOCK));
	TRY(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK));
	say("nonblocking %d", !!(MUST(fcntl(other, F_GETFL)) & O_NONBLOCK));
	TRY(recv(other, in, 1, 0));
	TRY(read(other, in, 1));
	/* In a child, and back. */
	pid_t child = MUST(fork());
	if (!child) {
		say("child: nonblocking %d", !!(MUST(fcntl(other, F_GETFL)) & O_NONBLOCK));
		TRY(recv(fd, in, 1, 0));
		int off = 0;
		TRY(ioctl(other, FIONBIO, &off));
		_exit(0);
	}
	waitpid(child, &status, 0);
	say_status("child", status);
	say("nonblocking %d", !!(MUST(fcntl(fd, F_GETFL)) & O_NONBLOCK));
	/* Blocking again: this waits. */
	pthread_t reader = thread(late_reader, &other);
	nap_ms(50);
	meet();
	pthread_join(reader, NULL);
	/* F_SETFL passes by what a socket cannot have. */
	TRY(fcntl(fd, F_SETFL, O_RDWR | O_APPEND));
	say("flags %#lx", MUST(fcntl(other, F_GETFL)));
	TRY(fcntl(fd, F_SETFL, O_RDWR));
	say("flags %#lx", MUST(fcntl(other, F_GETFL)));
	TRY(close(fd));
	TRY(send(other, "bye", 3, 0));
	TRY(close(other));
}

void bob(void)
{
	/* Nor does an accepted socket inherit it. */
	set_nonblocking(listener(), true);
	struct pollfd one = {listener(), POLLIN, 0};
	MUST(poll(&one, 1, 20000));
	int fd = MUST(accept4(listener(), NULL, NULL, 0));
	say("nonblocking %d, cloexec %ld", !!(MUST(fcntl(fd, F_GETFL)) & O_NONBLOCK), MUST(fcntl(fd, F_GETFD)));
	TRY(accept(listener(), NULL, NULL));
	warm(fd);
	meet();
	send_all(fd, "0123456789", 10);
	say_rest(fd);
}
