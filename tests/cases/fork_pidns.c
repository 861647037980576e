/* Two processes in different PID namespaces write, and two read, on one connection at once: neither takes the other for
 * dead. Without the privilege both are in one namespace. */
#include "case.h"

enum { SIZE = 3000, RECORDS = 3000 };

static void writer(int fd, char tag)
{
	char record[SIZE];
	memset(record, tag, SIZE);
	for (int i = 0; i < RECORDS; i++)
		send_all(fd, record, SIZE);
}

static void reader(int fd, int word)
{
	static char in[1 << 14];
	long got, sum[2] = {0, 0};
	while ((got = MUST(recv(fd, in, sizeof in, 0))) > 0)
		for (long i = 0; i < got; i++)
			sum[in[i] == 'b']++;
	give(word, sum[0]);
	give(word + 1, sum[1]);
}

static void both(int fd, void (*work)(int fd, bool child))
{
	int status;
	pid_t outer = MUST(fork());
	if (!outer) {
		(void)!unshare(CLONE_NEWPID);
		pid_t inner = MUST(fork());
		work(fd, !inner);
		if (!inner)
			_exit(0);
		waitpid(inner, &status, 0);
		_exit(status != 0);
	}
	waitpid(outer, &status, 0);
	say_status("both", status);
}

static void write_as(int fd, bool child)
{
	writer(fd, child ? 'b' : 'a');
}

static void read_as(int fd, bool child)
{
	reader(fd, child ? 2 : 0);
}

void alice(void)
{
	int fd = pair_up();
	both(fd, write_as);
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	both(fd, read_as);
	say("of a: %ld, of b: %ld", take(0) + take(2), take(1) + take(3));
	TRY(close(fd));
}
