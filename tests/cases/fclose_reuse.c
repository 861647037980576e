/* fclose and freopen close a wrapped socket where no hook of close runs; the number is then another file's. */
#include "case.h"

static char in[100];

static void another(const char *what, int number)
{
	int file = MUST(memfd_create("file", MFD_CLOEXEC)), pipes[2];
	say("%s: same number %d", what, file == number);
	TRY(write(file, "0123456789", 10));
	TRY(lseek(file, 0, SEEK_SET));
	say_bytes("file", in, TRY(read(file, in, 10)));
	TRY(read(file, in, 10));
	struct pollfd one = {file, POLLIN, 0};
	TRY(poll(&one, 1, 0));
	say_poll("file", one.revents);
	TRY(recv(file, in, 1, 0));
	close(file);
	MUST(pipe2(pipes, O_CLOEXEC | O_NONBLOCK));
	TRY(read(pipes[0], in, 10));
	TRY(write(pipes[1], "x", 1));
	TRY(read(pipes[0], in, 10));
	close(pipes[0]);
	close(pipes[1]);
}

void alice(void)
{
	int fd = pair_up();
	FILE *file = fdopen(fd, "r+");
	fputs("wrapped", file);
	TRY(fclose(file));
	another("fclose", fd);
	meet();
	/* The peer's bytes unread: a reset. */
	fd = pair_up();
	file = fdopen(fd, "r+");
	settle_readable(fd, 6);
	TRY(fclose(file));
	another("fclose, unread", fd);
	meet();
	/* freopen puts a file in its place. */
	fd = pair_up();
	file = fdopen(fd, "r+");
	fputs("wrapped", file);
	CHECK(freopen("/dev/zero", "r", file));
	say("freopen: same number %d", fileno(file) == fd);
	say_bytes("zeros", in, TRY(read(fd, in, 10)));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	meet();
	TRY(fclose(file));
	/* A connection takes the number next. */
	say("same number %d", pair_up() == fd);
	meet();
}

void bob(void)
{
	int fd = pair_up();
	say_rest(fd);
	close(fd);
	meet();
	fd = pair_up();
	send_all(fd, "unread", 6);
	settle_reset(fd);
	TRY(recv(fd, in, 1, 0));
	meet();
	close(fd);
	fd = pair_up();
	say_rest(fd);
	close(fd);
	meet();
	pair_up();
	meet();
}
