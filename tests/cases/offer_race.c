/* A sender and a receiver, at the same moment the ones with whose call a connection has proved worth moving: offered
 * once. A second offer would cost the process its broker, and what comes afterwards would stay on TCP. */
#include "case.h"

static atomic_int ready;
static int connection;

static void together(void)
{
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < 2)
		;
}

static void *sender(void *unused)
{
	(void)unused;
	together();
	send_all(connection, "s", 1);
	return 0;
}

static void talk(void)
{
	char in[4];
	connection = joined();
	/* Three calls, and something left to read. */
	send_all(connection, "abcd", 4);
	recv_all(connection, in, 1);
	settle_readable(connection, 3);
	recv_all(connection, in, 1);
	atomic_store(&ready, 0);
	pthread_t other = thread(sender, 0);
	together();
	recv_all(connection, in, 1);
	pthread_join(other, 0);
	recv_all(connection, in, 2);
	close(connection);
}

void alice(void)
{
	for (int i = 0; i < 100; i++)
		talk();
	int last = pair_up();
	TRY(write(last, "x", 1));
}

void bob(void)
{
	char in;
	for (int i = 0; i < 100; i++)
		talk();
	int last = pair_up();
	TRY(recv(last, &in, 1, 0));
}
