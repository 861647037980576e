/* One thread sends by ways for which the library copies the descriptor, another forks: no child has a copy that it cannot
 * close. */
#include "case.h"
#include <dirent.h>

static int fd;
static atomic_int stop;
static void *printer(void *x)
{
	while (!stop)
		dprintf(fd, "x");
	return x;
}
static int sockets(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	for (struct dirent *e; (e = readdir(d));) {
		char path[300], to[100] = "";
		snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
		if (readlink(path, to, sizeof to - 1) > 0 && !strncmp(to, "socket:", 7))
			n++;
	}
	closedir(d);
	return n;
}
static char in[65536];
void alice(void)
{
	fd = pair_up();
	while (recv(fd, in, sizeof in, 0) > 0)
		;
	say("end");
	close(fd);
}
void bob(void)
{
	int bad = 0, status;
	fd = pair_up();
	close(listener());
	pthread_t t = thread(printer, NULL);
	for (int i = 0; i < 800; i++) {
		pid_t child = MUST(fork());
		if (!child) {
			close(fd);
			_exit(sockets());
		}
		waitpid(child, &status, 0);
		if (WEXITSTATUS(status) > 0)
			bad++;
	}
	stop = 1;
	pthread_join(t, NULL);
	say("children with a socket left: %d", bad);
	close(fd);
}
