/* aio_read, aio_write, lio_listio: glibc's own threads do the work, by calls that no hook sees. */
#include "case.h"
#include <aio.h>

static char in[100];

static void finish(const char *what, struct aiocb *work)
{
	const struct aiocb *list[] = {work};
	while (aio_error(work) == EINPROGRESS)
		aio_suspend(list, 1, NULL);
	say("%s: %s, %ld", what, aio_error(work) ? errno_name(aio_error(work)) : "good", (long)aio_return(work));
}

void alice(void)
{
	int fd = pair_up();
	send_all(fd, "plain ", 6);
	struct aiocb put = {.aio_fildes = fd, .aio_buf = "asynchronous", .aio_nbytes = 12};
	TRY(aio_write(&put));
	finish("write", &put);
	send_all(fd, " plain ", 7);
	struct aiocb more = {.aio_fildes = fd, .aio_buf = "listed", .aio_nbytes = 6, .aio_lio_opcode = LIO_WRITE};
	struct aiocb *list[] = {NULL, &more};
	TRY(lio_listio(LIO_WAIT, list, 2, NULL));
	finish("listed", &more);
	send_all(fd, " end", 4);
	TRY(aio_fsync(O_SYNC, &put));
	finish("fsync", &put);
	meet();
	TRY(recv(fd, in, 1, 0));
	close(fd);
	fd = pair_up();
	meet();
	send_all(fd, "late", 4);
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	int fd = pair_up();
	recv_all(fd, in, 35);
	say("%s", in);
	meet();
	TRY(close(fd));
	/* Asked for before it comes. */
	fd = pair_up();
	struct aiocb get = {.aio_fildes = fd, .aio_buf = in, .aio_nbytes = 1};
	TRY(aio_read(&get));
	meet();
	finish("read", &get);
	recv_all(fd, in + 1, 3);
	say("%.4s", in);
	TRY(close(fd));
}
