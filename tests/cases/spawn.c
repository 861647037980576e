/* Every way to start a program while a connection is moved; with the socket closed on exec, and as its output. */
#include "case.h"
#include <spawn.h>

extern char **environ;

static void output(const char *what, int to)
{
	int status;
	pid_t child;
	char *arguments[] = {"/bin/echo", (char *)what, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, to, 1);
	CHECK(posix_spawn(&child, arguments[0], &actions, NULL, arguments, environ) == 0);
	waitpid(child, &status, 0);
	say_status(what, status);
	posix_spawn_file_actions_destroy(&actions);
}

void alice(void)
{
	int fd = pair_up(), status;
	char in[100];
	/* The child's own work on descriptors between vfork and exec is not the parent's. */
	pid_t child = vfork();
	if (!child) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	waitpid(child, &status, 0);
	say_status("vfork", status);
	child = vfork();
	if (!child) {
		dup2(fd, 0);
		close(fd);
		execl("/nowhere", "nowhere", NULL);
		_exit(3);
	}
	waitpid(child, &status, 0);
	say_status("vfork, no exec", status);
	TRY(send(fd, "parent\n", 7, 0));
	say_status("system", system("exit 5"));
	FILE *pipe = popen("echo from the shell", "r");
	CHECK(fgets(in, sizeof in, pipe));
	say("popen: %s", in);
	say_status("pclose", pclose(pipe));
	TRY(send(fd, "parent\n", 7, 0));
	say_bytes("in", in, TRY(recv(fd, in, 5, MSG_WAITALL)));
	/* Now the socket is some child's output. */
	output("first", fd);
	TRY(send(fd, "between\n", 8, 0));
	output("second", fd);
	child = MUST(fork());
	if (!child) {
		dup2(fd, 1);
		execl("/bin/sh", "sh", "-c", "echo third; /bin/echo fourth", NULL);
		_exit(98);
	}
	waitpid(child, &status, 0);
	say_status("shell", status);
	child = vfork();
	if (!child) {
		dup2(fd, 1);
		execl("/usr/bin/env", "env", "-i", "/bin/echo", "bare", NULL);
		_exit(98);
	}
	waitpid(child, &status, 0);
	say_status("bare", status);
	TRY(send(fd, "last\n", 5, 0));
	TRY(shutdown(fd, SHUT_WR));
	say_rest(fd);
}

void bob(void)
{
	int fd = pair_up();
	char in[1000] = "";
	say_bytes("in", in, TRY(recv(fd, in, 14, MSG_WAITALL)));
	TRY(send(fd, "hello", 5, 0));
	long sum = 0, got;
	while ((got = MUST(recv(fd, in + sum, sizeof in - 1 - sum, 0))) > 0)
		sum += got;
	in[sum] = 0;
	say("%s", in);
	TRY(send(fd, "bye", 3, 0));
}
