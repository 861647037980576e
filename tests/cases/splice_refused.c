/* splice with what the kernel refuses, or has nothing to do with; pipes of other kinds. */
#include "case.h"

static char data[30000], in[30000];

void alice(void)
{
	int fd = pair_up(), pipes[2];
	MUST(pipe(pipes));
	off_t at = 0;
	TRY(splice(fd, NULL, pipes[1], NULL, 0, 0));
	TRY(splice(fd, NULL, pipes[1], NULL, 0, 0x80));
	TRY(splice(fd, NULL, pipes[1], NULL, 10, 0x80));
	TRY(splice(fd, NULL, pipes[1], &at, 10, 0));
	TRY(splice(fd, NULL, pipes[0], NULL, 10, 0));
	/* Room comes first, and before it a reader. */
	int alone[2];
	MUST(pipe(alone));
	MUST(close(alone[0]));
	on_signal(SIGPIPE, SIG_IGN, 0);
	TRY(splice(fd, NULL, alone[1], NULL, 10, 0));
	MUST(fcntl(pipes[1], F_SETPIPE_SZ, 4096));
	CHECK(write(pipes[1], data, 4096) == 4096);
	TRY(splice(fd, NULL, pipes[1], NULL, 10, SPLICE_F_NONBLOCK));
	MUST(fcntl(pipes[1], F_SETFL, O_NONBLOCK));
	TRY(splice(fd, NULL, pipes[1], NULL, 10, 0));
	MUST(fcntl(pipes[1], F_SETFL, 0));
	CHECK(read(pipes[0], in, 4096) == 4096);
	meet();
	settle_readable(fd, 20000);
	TRY(splice(fd, NULL, alone[1], NULL, 10, 0));
	/* A named one. */
	char name[100];
	snprintf(name, sizeof name, "/tmp/slipstream-case-%d", getpid());
	MUST(mkfifo(name, 0600));
	int fifo = MUST(open(name, O_RDWR));
	MUST(unlink(name));
	TRY(splice(fd, NULL, fifo, NULL, 15000, 0));
	say_bytes("fifo", in, TRY(read(fifo, in, sizeof in)));
	TRY(sendfile(fifo, fd, NULL, 100));
	say_bytes("fifo", in, TRY(read(fifo, in, sizeof in)));
	TRY(splice(fd, NULL, fifo, NULL, 4900, SPLICE_F_NONBLOCK));
	say_bytes("fifo", in, TRY(read(fifo, in, sizeof in)));
	meet();
	settle_fin(fd);
	TRY(splice(fd, NULL, fifo, NULL, 10, 0));
}

void bob(void)
{
	int fd = pair_up();
	fill(data, sizeof data, 1, 0);
	meet();
	send_all(fd, data, 20000);
	meet();
	TRY(close(fd));
}
