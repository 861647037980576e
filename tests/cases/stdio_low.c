/* Sockets whose own numbers are 0, 1 and 2, because those were free, and libc's stdio on them. A connection that was accepted
 * on a listener at 0 is like any other. */
#include "case.h"

static char in[100];
static int kept;

static int low(int number)
{
	int fd;
	kept = MUST(fcntl(number, F_DUPFD_CLOEXEC, 10));
	close(number);
	fd = joined();
	CHECK(fd == number);
	trickle(fd);
	return fd;
}

/* The case's own standard descriptor comes back. */
static void back(int number)
{
	MUST(dup2(kept, number));
	close(kept);
}

void alice(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = low(0);
	TRY(send(fd, "a line\n", 7, 0));
	meet();
	CHECK(fgets(in, sizeof in, stdin));
	say("got %s", in);
	back(0);

	fd = low(1);
	TRY(send(fd, "one ", 4, 0));
	TRY(printf("two "));
	TRY(fflush(stdout));
	TRY(send(fd, "three", 5, 0));
	back(1);

	fd = low(2);
	TRY(send(fd, "one ", 4, 0));
	TRY(fprintf(stderr, "two "));
	TRY(send(fd, "three", 5, 0));
	back(2);

	meet();
	at.sin_port = take(0);
	fd = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	MUST(connect(fd, (void *)&at, sizeof at));
	warm_as(fd, true);
	TRY(send(fd, "moved", 5, 0));
	TRY(recv(fd, in, 1, 0));
	close(fd);
}

void bob(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int fd = low(0);
	CHECK(fgets(in, sizeof in, stdin));
	say("got %s", in);
	meet();
	TRY(send(fd, "a line\n", 7, 0));
	TRY(recv(fd, in, 1, 0));
	back(0);
	for (int i = 0; i < 2; i++) {
		fd = joined();
		trickle(fd);
		say("%.*s", (int)TRY(recv(fd, in, 13, MSG_WAITALL)), in);
		TRY(recv(fd, in, 1, 0));
		close(fd);
	}

	kept = MUST(fcntl(0, F_DUPFD_CLOEXEC, 10));
	close(0);
	int listening = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	CHECK(listening == 0);
	MUST(bind(listening, (void *)&at, sizeof at));
	MUST(listen(listening, 1));
	MUST(getsockname(listening, (void *)&at, &len));
	give(0, at.sin_port);
	meet();
	fd = MUST(accept4(listening, NULL, NULL, SOCK_CLOEXEC));
	warm_as(fd, false);
	say_bytes("moved", in, TRY(recv(fd, in, 5, MSG_WAITALL)));
	close(fd);
	back(0);
}
