/* What gcc makes of dprintf and vdprintf with -D_FORTIFY_SOURCE, and libc's other ways to write to a descriptor by
 * itself. */
#include "case.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <stdarg.h>

static void *named(const char *name)
{
	void *call = dlsym(RTLD_DEFAULT, name);
	CHECK(call);
	return call;
}

static void by_list(int fd, const char *format, ...)
{
	int (*vdprintf_chk)(int, int, const char *, va_list) = named("__vdprintf_chk");
	va_list list;
	va_start(list, format);
	say("__vdprintf_chk %d", vdprintf_chk(fd, 1, format, list));
	va_end(list);
}

void alice(void)
{
	int (*dprintf_chk)(int, int, const char *, ...) = named("__dprintf_chk");
	FILE *(*io_fdopen)(int, const char *) = named("_IO_fdopen");
	for (int way = 0; way < 4; way++) {
		int fd = pair_up();
		send_all(fd, "before ", 7);
		switch (way) {
		case 0:
			TRY(dprintf_chk(fd, 1, "chk %d %.1f ", 1, 2.5));
			break;
		case 1:
			by_list(fd, "list %d %.1f ", 1, 2.5);
			break;
		case 2:
			TRY(eventfd_write(fd, 0x2020746e65766520));
			break;
		case 3:
			fputs("alias ", io_fdopen(fd, "w"));
			fflush(NULL);
			break;
		}
		send_all(fd, "after", 5);
		if (way == 2) {
			eventfd_t value = 0;
			TRY(eventfd_read(fd, &value));
			say("value %lx", value);
		}
		close(fd);
	}
	/* A backtrace into the connection; how long it is depends on the machine. */
	void *frames[4];
	int count = backtrace(frames, 2);
	int fd = pair_up();
	send_all(fd, "before\n", 7);
	backtrace_symbols_fd(frames, count, fd);
	send_all(fd, "after\n", 6);
	close(fd);
}

void bob(void)
{
	for (int way = 0; way < 4; way++) {
		int fd = pair_up();
		if (way == 2)
			send_all(fd, "8 bytes!", 8);
		say_rest(fd);
		close(fd);
	}
	static char text[10000];
	int fd = pair_up();
	long sum = 0, got;
	while ((got = MUST(recv(fd, text + sum, sizeof text - 1 - sum, 0))) > 0)
		sum += got;
	say("in order: %d", sum > 13 && !strncmp(text, "before\n", 7) && !strcmp(text + sum - 6, "after\n"));
}
