/* A thread that was cancelled comes to close: it ends there, before the descriptor is closed, and others use it on. */
#include "case.h"

static int fd;

static void *closes(void *unused)
{
	(void)unused;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	post(1);
	await(2);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	close(fd);
	return NULL;
}

void alice(void)
{
	fd = pair_up();
	pthread_t closer = thread(closes, NULL);
	await(1);
	pthread_cancel(closer);
	post(2);
	void *result;
	pthread_join(closer, &result);
	say("cancelled %d", result == PTHREAD_CANCELED);
	TRY(fcntl(fd, F_GETFD));
	meet();
	meet();
	struct timeval soon = {1, 0};
	char in[10];
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
	TRY(recv(fd, in, 10, 0));
	TRY(send(fd, "hello", 5, 0));
	meet();
	TRY(close(fd));
}

void bob(void)
{
	char in[10];
	int fd = pair_up();
	meet();
	TRY(send(fd, "reply", 5, 0));
	meet();
	TRY(recv(fd, in, 10, 0));
	meet();
	TRY(recv(fd, in, 10, 0));
}
