/* A socket wrapped by libc's own stdio: fdopen, fprintf, fgets, fflush, fclose; dprintf between. */
#include "case.h"
#include <stdarg.h>

static char in[1000];

static void by_list(int fd, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	say("vdprintf %d", vdprintf(fd, format, list));
	va_end(list);
}

void alice(void)
{
	int fd = pair_up();
	send_all(fd, "raw\n", 4);
	TRY(dprintf(fd, "by dprintf %d\n", 1));
	by_list(fd, "by vdprintf %d\n", 2);
	send_all(fd, "raw\n", 4);
	FILE *file = fdopen(fd, "r+");
	CHECK(file);
	say("fileno %d", fileno(file) == fd);
	for (int i = 0; i < 100; i++)
		fprintf(file, "line %d\n", i);
	TRY(fflush(file));
	send_all(fd, "raw\n", 4);
	fputs("after\n", file);
	TRY(fflush(file));
	meet();
	while (fgets(in, sizeof in, file)) {
		in[strcspn(in, "\n")] = 0;
		say("got %s", in);
		if (!strcmp(in, "done"))
			break;
	}
	/* A separate one for reading, over the dup, as inetd-style programs do. */
	FILE *reading = fdopen(dup(fd), "r");
	CHECK(fgets(in, sizeof in, reading));
	say("got %s", in);
	TRY(fclose(reading));
	fputs("last\n", file);
	TRY(fclose(file));
	TRY(fcntl(fd, F_GETFD));
}

void bob(void)
{
	int fd = pair_up();
	FILE *file = fdopen(fd, "r");
	CHECK(file);
	int lines = 0;
	while (fgets(in, sizeof in, file)) {
		in[strcspn(in, "\n")] = 0;
		if (lines < 6 || lines > 103)
			say("got %s", in);
		lines++;
		if (!strcmp(in, "after"))
			break;
	}
	say("lines %d", lines);
	send_all(fd, "one\ntwo\ndone\n", 13);
	meet();
	nap_ms(30);
	send_all(fd, "three\n", 6);
	while (fgets(in, sizeof in, file))
		say("got %s", in);
	say("end %d error %d", !!feof(file), !!ferror(file));
	fclose(file);
}
