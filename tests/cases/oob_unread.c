/* Urgent data behind a switch to the ring, with bytes of TCP unread before it: those and the ring's come in their order. */
#include "case.h"

static char in[300], data[200];

void alice(void)
{
	int fd = pair_up();
	memset(data, 'a', 100);
	memset(data + 100, 'b', 50);
	memset(data + 150, 'c', 50);
	int file = MUST(memfd_create("data", MFD_CLOEXEC));
	MUST(write(file, data, 100));
	off_t at = 0;
	meet();
	TRY(sendfile(fd, file, &at, 100));
	meet();
	meet();
	TRY(send(fd, data + 100, 50, 0));
	TRY(send(fd, "!", 1, MSG_OOB));
	TRY(send(fd, data + 150, 50, 0));
	meet();
	meet();
	TRY(close(fd));
}

void bob(void)
{
	int fd = pair_up();
	meet();
	meet();
	MUST(recv(fd, in, 1, 0));
	meet();
	meet();
	nap_ms(100);
	for (long got = 1, n; got < 200; got += n)
		n = MUST(recv(fd, in + got, sizeof in - got, MSG_DONTWAIT));
	for (int i = 0, from = 0; i < 200; i++)
		if (in[i + 1] != in[i]) {
			say("%c, %d times", in[i], i + 1 - from);
			from = i + 1;
		}
	meet();
}
