/* A library that was loaded with RTLD_DEEPBIND (PHP's extensions are) reads and writes what moved. */
#include "case.h"
#include <dlfcn.h>

static void *found(void *library, const char *name)
{
	void *function = dlsym(library, name);
	CHECK(function);
	return function;
}

void alice(void)
{
	char in[10];
	int fd = pair_up();
	void *library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_DEEPBIND);
	CHECK(library);
	void *(*new_socket)(int, int) = found(library, "BIO_new_socket");
	int (*read_some)(void *, void *, int) = found(library, "BIO_read");
	int (*write_some)(void *, const void *, int) = found(library, "BIO_write");
	void *bio = new_socket(fd, 0);
	meet();
	settle_readable(fd, 5);
	TRY(read_some(bio, in, 10));
	TRY(write_some(bio, "reply", 5));
	meet();
	TRY(close(fd));
}

void bob(void)
{
	char in[10];
	int fd = pair_up();
	meet();
	TRY(send(fd, "hello", 5, 0));
	TRY(recv(fd, in, 10, 0));
	meet();
	TRY(recv(fd, in, 10, 0));
}
