/* Calls before any constructor has run, in a constructor, in exit handlers and in a destructor. */
#include "case.h"

static void local_talk(const char *when)
{
	/* Nothing of the case is set up yet: a pipe and a TCP pair of its own. */
	char in[10];
	int pipes[2], listening = socket(AF_INET, SOCK_STREAM, 0), a = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof here;
	bool good = !pipe(pipes) && write(pipes[1], "pipe", 4) == 4 && read(pipes[0], in, 10) == 4;
	good = good && !bind(listening, (void *)&here, size) && !listen(listening, 1) &&
	       !getsockname(listening, (void *)&here, &size) && !connect(a, (void *)&here, size);
	int b = accept(listening, NULL, NULL);
	for (int i = 0; good && i < 200; i++)
		good = send(a, "ping", 4, 0) == 4 && recv(b, in, 10, 0) == 4 && write(b, "pong", 4) == 4 &&
		       read(a, in, 10) == 4;
	close(a);
	good = good && recv(b, in, 1, 0) == 0;
	close(b);
	close(listening);
	close(pipes[0]);
	close(pipes[1]);
	if (!good) {
		write(2, when, strlen(when));
		_exit(97);
	}
}

static void before(void)
{
	local_talk("before\n");
}

__attribute__((section(".preinit_array"), used)) static void (*first)(void) = before;

__attribute__((constructor)) static void construct(void)
{
	local_talk("constructor\n");
}

static int fd = -1;

static void at_exit(void)
{
	local_talk("exit handler\n");
	if (fd >= 0) {
		TRY(send(fd, "exit handler", 12, 0));
	}
}

__attribute__((destructor)) static void destruct(void)
{
	local_talk("destructor\n");
	if (fd >= 0)
		TRY(send(fd, "destructor", 10, 0));
}

void alice(void)
{
	atexit(at_exit);
	fd = pair_up();
	say("ends");
}

void bob(void)
{
	int fd = pair_up();
	say_rest(fd);
}
