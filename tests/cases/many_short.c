/* Thousands of short connections from several threads: request, answer, close; nothing leaks, nothing crosses. */
#include "case.h"

enum { THREADS = 4, ROUNDS = 500 };

static void *client(void *number)
{
	struct sockaddr_in there = bob_address();
	char in[64], out[64];
	for (int i = 0; i < ROUNDS; i++) {
		int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
		MUST(connect(fd, (void *)&there, sizeof there));
		int trips = i % 10 == 0 ? 20 : 1;
		for (int trip = 0; trip < trips; trip++) {
			fill(out, sizeof out, (long)number * ROUNDS + i, trip);
			send_all(fd, out, sizeof out);
			recv_all(fd, in, sizeof in);
			CHECK(!memcmp(in, out, sizeof in));
		}
		if (i % 3 == 0) {
			/* Without the TIME_WAIT, too. */
			struct linger now = {1, 0};
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
		}
		MUST(close(fd));
	}
	return NULL;
}

static void *server(void *unused)
{
	(void)unused;
	char in[64];
	int fd;
	while ((fd = accept(listener(), NULL, NULL)) >= 0) {
		long got;
		while ((got = recv(fd, in, sizeof in, 0)) > 0)
			if (send(fd, in, got, MSG_NOSIGNAL) < 0)
				break;
		close(fd);
	}
	return NULL;
}

static int count(void)
{
	int sum = 0;
	for (int i = 0; i < 512; i++)
		sum += fcntl(i, F_GETFD) >= 0;
	return sum;
}

void alice(void)
{
	pthread_t threads[THREADS];
	int before = count();
	for (long i = 0; i < THREADS; i++)
		threads[i] = thread(client, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	say("done, %d more descriptors", count() - before);
	post(0);
}

void bob(void)
{
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		threads[i] = thread(server, NULL);
	await(0);
	/* Ends every accept. */
	shutdown(listener(), SHUT_RDWR);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	say("done");
}
