/* A server that forks for each connection and leaves it to the child: it does not grow. */
#include "case.h"

enum { ROUNDS = 2000 };

/* Mappings of memory that is shared with children. */
static int mappings(void)
{
	char line[512];
	int found = 0;
	FILE *file = fopen("/proc/self/maps", "r");
	CHECK(file);
	while (fgets(line, sizeof line, file))
		found += strstr(line, "/dev/zero") != NULL;
	fclose(file);
	return found;
}

void alice(void)
{
	char byte;
	for (int round = 0; round < ROUNDS; round++) {
		int fd = joined();
		CHECK(send(fd, "x", 1, 0) == 1);
		CHECK(recv(fd, &byte, 1, 0) == 1);
		MUST(close(fd));
	}
}

void bob(void)
{
	int before = 0;
	char byte;
	signal(SIGCHLD, SIG_IGN);
	for (int round = 0; round < ROUNDS; round++) {
		int fd = joined();
		if (!MUST(fork())) {
			CHECK(recv(fd, &byte, 1, 0) == 1);
			CHECK(send(fd, &byte, 1, 0) == 1);
			_exit(0);
		}
		MUST(close(fd));
		if (round == 200)
			before = mappings();
	}
	say("grown: %s", mappings() > before + 1 ? "yes" : "no");
}
