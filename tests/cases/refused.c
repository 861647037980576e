/* Calls that no socket serves: the kernel's refusal, whatever carries the stream, and the stream goes on. And sendfile
 * from a socket into a pipe, which newer kernels do serve. */
#include "case.h"

static char in[100];

static void refused(int fd)
{
	struct iovec part = {in, 10};
	off_t offset = 0;
	loff_t long_offset = 0;
	int pipes[2], file = MUST(memfd_create("file", MFD_CLOEXEC));
	MUST(pipe2(pipes, O_CLOEXEC));
	MUST(write(pipes[1], "0123456789", 10));
	MUST(write(file, "0123456789", 10));
	TRY(pread(fd, in, 10, 0));
	TRY(pwrite(fd, "0123456789", 10, 0));
	TRY(preadv(fd, &part, 1, 0));
	TRY(pwritev(fd, &part, 1, 0));
	TRY(preadv(fd, &part, 1, -1));
	TRY(pwritev(fd, &part, 1, -1));
	TRY(preadv2(fd, &part, 1, 0, 0));
	TRY(pwritev2(fd, &part, 1, 0, 0));
	TRY(lseek(fd, 0, SEEK_SET));
	TRY(copy_file_range(fd, NULL, file, NULL, 10, 0));
	TRY(copy_file_range(file, NULL, fd, NULL, 10, 0));
	TRY(tee(fd, pipes[1], 10, 0));
	TRY(tee(pipes[0], fd, 10, 0));
	TRY(vmsplice(fd, &part, 1, 0));
	TRY(splice(fd, NULL, file, NULL, 10, 0));
	TRY(splice(file, NULL, fd, NULL, 10, 0));
	TRY(splice(fd, &long_offset, pipes[1], NULL, 10, 0));
	TRY(splice(pipes[0], NULL, fd, &long_offset, 10, 0));
	TRY(sendfile(file, fd, NULL, 10));
	TRY(sendfile(fd, fd, NULL, 10));
	TRY(sendfile(pipes[1], fd, &offset, 10));
	TRY(ftruncate(fd, 0));
	TRY(fsync(fd));
	TRY(fdatasync(fd));
	TRY(posix_fadvise(fd, 0, 0, 0));
	TRY(fallocate(fd, 0, 0, 10));
	TRY(readahead(fd, 0, 10));
	TRY(sync_file_range(fd, 0, 0, 0));
	TRY(fchdir(fd));
	TRY(isatty(fd));
	TRY((long)mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0));
	say("nothing taken: %ld", (long)MUST(read(pipes[0], in, 100)));
	close(pipes[0]);
	close(pipes[1]);
	close(file);
}

void alice(void)
{
	int fd = pair_up();
	refused(fd);
	TRY(send(fd, "0123456789", 10, 0));
	meet();
	TRY(recv(fd, in, 1, 0));
}

void bob(void)
{
	int fd = pair_up(), pipes[2];
	meet();
	settle_readable(fd, 10);
	refused(fd);
	MUST(pipe2(pipes, O_CLOEXEC | O_NONBLOCK));
	say_bytes("in", in, TRY(recv(fd, in, 3, 0)));
	TRY(sendfile(pipes[1], fd, NULL, 4));
	say_bytes("pipe", in, TRY(read(pipes[0], in, 10)));
	say_bytes("rest", in, TRY(recv(fd, in, 10, MSG_DONTWAIT)));
}
