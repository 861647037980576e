/* Sends from and receives into a page that is protected before each call, as a collector's barriers have it, by a program that opens
 * it in its handler of SIGSEGV and where a call tells EFAULT: whichever it meets, and whatever carries, every byte comes. */
#include "case.h"

enum { TRIPS = 3000 };
static char *page;

static void open_it(int number)
{
	(void)number;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

void alice(void)
{
	int right = 0;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	on_signal(SIGSEGV, open_it, 0);
	int fd = joined();
	for (int i = 0; i < TRIPS; i++) {
		char byte = i;
		long got;
		*page = byte;
		MUST(mprotect(page, 4096, PROT_NONE));
		while (send(fd, page, 1, MSG_NOSIGNAL) < 0 && errno == EFAULT)
			open_it(0);
		*page = 0;
		MUST(mprotect(page, 4096, PROT_READ));
		while ((got = recv(fd, page, 10, 0)) < 0 && errno == EFAULT)
			open_it(0);
		right += got == 1 && page[0] == byte;
	}
	say("right: %d", right);
	meet();
	MUST(close(fd));
}

void bob(void)
{
	int fd = joined();
	char byte;
	for (int i = 0; i < TRIPS; i++) {
		MUST(recv(fd, &byte, 1, 0));
		MUST(send(fd, &byte, 1, MSG_NOSIGNAL));
	}
	meet();
	MUST(close(fd));
}
