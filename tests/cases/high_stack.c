/* A receive of more bytes than there are addresses above the caller's stack. */
#include "case.h"

static int fd;
static char in[1 << 20];

static void *reader(void *unused)
{
	(void)unused;
	TRY(recv(fd, in, sizeof in, 0));
	meet();
	settle_readable(fd, 1);
	TRY(recv(fd, in, sizeof in, MSG_PEEK));
	TRY(recv(fd, in, sizeof in, 0));
	TRY(recv(fd, in, sizeof in, MSG_DONTWAIT));
	return NULL;
}

void alice(void)
{
	enum { SIZE = 1 << 17 };
	/* The last page of all is nobody's. */
	char *top = (char *)((1UL << 47) - 4096 - SIZE);
	fd = pair_up();
	void *stack = mmap(top, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (stack != top) {
		/* The main thread's own is there. */
		reader(NULL);
		return;
	}
	pthread_attr_t attributes;
	pthread_t made;
	CHECK(!pthread_attr_init(&attributes) && !pthread_attr_setstack(&attributes, stack, SIZE));
	CHECK(!pthread_create(&made, &attributes, reader, NULL) && !pthread_join(made, NULL));
}

void bob(void)
{
	int out = pair_up(), file = MUST(memfd_create("one", 0));
	off_t start = 0;
	MUST(write(file, "o", 1));
	send_all(out, "r", 1);
	meet();
	TRY(sendfile(out, file, &start, 1));
	say_rest(out);
}
