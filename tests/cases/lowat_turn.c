/* Who waits for SO_RCVLOWAT sleeps, also when the sender has just left the ring and its bytes are too few. */
#include "case.h"

void alice(void)
{
	char in = 0;
	int fd = pair_up(), least = 10;
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
	meet();
	TRY(recv(fd, &in, 1, 0));
	say_bytes("in", &in, 1);
}

void bob(void)
{
	int fd = pair_up();
	int file = MUST(memfd_create("one", 0));
	MUST(write(file, "o", 1));
	off_t start = 0;
	meet();
	settle_asleep(peer_pid());
	send_all(fd, "o", 1);
	TRY(sendfile(fd, file, &start, 1));
	settle_asleep(peer_pid());
	send_all(fd, "0123456789", 10);
	say_rest(fd);
}
