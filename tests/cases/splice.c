/* splice into and out of a moved endpoint, as proxies do; tee and vmsplice refuse a socket. */
#include "case.h"

static char data[100000], in[100000];

void alice(void)
{
	int fd = pair_up(), pipes[2], more[2];
	MUST(pipe(pipes));
	MUST(pipe(more));
	fill(data, sizeof data, 1, 0);
	send_all(fd, data, 1000);
	CHECK(write(pipes[1], data + 1000, 5000) == 5000);
	TRY(splice(pipes[0], NULL, fd, NULL, 5000, SPLICE_F_MOVE));
	send_all(fd, data + 6000, 1000);
	meet();
	/* The answer, spliced out: what is there first, then what comes. */
	settle_readable(fd, 3000);
	TRY(recv(fd, in, 1000, 0));
	TRY(splice(fd, NULL, pipes[1], NULL, 1500, 0));
	say_bytes("pipe", in, TRY(read(pipes[0], in, 5000)));
	TRY(recv(fd, in, 5000, 0));
	/* SPLICE_F_NONBLOCK is the pipe's; the socket has its own flag. */
	set_nonblocking(fd, true);
	TRY(splice(fd, NULL, pipes[1], NULL, 100, SPLICE_F_NONBLOCK));
	set_nonblocking(fd, false);
	/* More than a pipe takes: what it takes, and no wait for room once something has passed. */
	meet();
	meet();
	settle_readable(fd, 40000);
	MUST(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 17));
	TRY(splice(fd, NULL, pipes[1], NULL, 20000, SPLICE_F_NONBLOCK));
	say_bytes("pipe", in, TRY(read(pipes[0], in, sizeof in)));
	MUST(fcntl(pipes[1], F_SETPIPE_SZ, 4096));
	CHECK(write(pipes[1], data, 4096) == 4096);
	TRY(splice(fd, NULL, pipes[1], NULL, 20000, SPLICE_F_NONBLOCK));
	TRY(read(pipes[0], in, 4096));
	MUST(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 17));
	recv_all(fd, in, 20000);
	say_bytes("rest", in, 20000);
	meet();
	long sum = 0;
	while (sum < 50000) {
		long got = MUST(splice(fd, NULL, pipes[1], NULL, 50000 - sum, 0));
		CHECK(got > 0 && read(pipes[0], in + sum, got) == got);
		sum += got;
	}
	say_bytes("pipe", in, sum);
	TRY(tee(fd, more[1], 10, 0));
	TRY(splice(fd, NULL, fd, NULL, 10, 0));
	off_t at = 0;
	TRY(splice(fd, &at, pipes[1], NULL, 10, 0));
	struct iovec part = {data, 10};
	TRY(vmsplice(fd, &part, 1, 0));
	/* And ordinary calls go on. */
	meet();
	recv_all(fd, in, 1000);
	say_bytes("in", in, 1000);
	settle_fin(fd);
	TRY(splice(fd, NULL, pipes[1], NULL, 10, 0));
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	recv_all(fd, in, 7000);
	say_bytes("in", in, 7000);
	fill(data, sizeof data, 2, 0);
	send_all(fd, data, 3000);
	meet();
	meet();
	send_all(fd, data, 40000);
	meet();
	meet();
	send_all(fd, data, 50000);
	meet();
	send_all(fd, data, 1000);
	TRY(shutdown(fd, SHUT_WR));
	TRY(recv(fd, in, 1, 0));
}
