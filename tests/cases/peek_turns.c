/* A peek sees all that is there, however it came: by calls that move and by calls that do not, in turn. */
#include "case.h"

static char in[20000], data[20000];

static void by_file(int fd, int from, int size)
{
	int file = MUST(memfd_create("file", 0));
	CHECK(write(file, data + from, size) == size);
	off_t at = 0;
	TRY(sendfile(fd, file, &at, size));
	close(file);
}

void bob(void)
{
	fill(data, sizeof data, 1, 0);
	for (int i = 0; i < 4; i++) {
		int fd = pair_up();
		/* The ring alone; then TCP, the ring and TCP; from TCP on. */
		if (i)
			by_file(fd, 0, 700);
		else
			send_all(fd, data, 700);
		meet();
		meet();
		send_all(fd, data + 700, 1000);
		if (i > 1)
			by_file(fd, 1700, 300);
		else
			send_all(fd, data + 1700, 300);
		if (i > 2)
			TRY(shutdown(fd, SHUT_WR));
		meet();
		meet();
		TRY(close(fd));
	}
}

void alice(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = pair_up();
		struct iovec parts[3] = {{in, 10}, {in + 10, 1500}, {in + 1510, 600}};
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
		meet();
		settle_readable(fd, 700);
		TRY(recv(fd, in, 100, 0));
		meet();
		meet();
		settle_readable(fd, 1900);
		say_bytes("peek", in, TRY(recv(fd, in, sizeof in, MSG_PEEK)));
		memset(in, 0, sizeof in);
		say_bytes("vectors", in, TRY(recvmsg(fd, &message, MSG_PEEK)));
		memset(in, 0, sizeof in);
		say_bytes("wait", in, TRY(recv(fd, in, 1900, MSG_PEEK | MSG_WAITALL)));
		say_bytes("some", in, TRY(recv(fd, in, 650, MSG_PEEK)));
		TRY(recv(fd, NULL, 5000, MSG_PEEK | MSG_TRUNC));
		TRY(recv(fd, NULL, 1900, MSG_PEEK | MSG_TRUNC | MSG_WAITALL));
		say_bytes("take", in, TRY(recv(fd, in, 1900, MSG_WAITALL)));
		meet();
		TRY(recv(fd, in, 1, MSG_PEEK));
		TRY(close(fd));
	}
}
