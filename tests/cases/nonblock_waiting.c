/* O_NONBLOCK, set while a thread waits in a call, is for the calls to come; also where the stream goes back to TCP then. */
#include "case.h"

enum { RECEIVE, RECEIVE_ALL, SEND, WAYS, ALL = 8 << 20 };
static int fd;
static _Atomic bool over;
static long done;
static char bytes[ALL];

static void *waits(void *way)
{
	give(0, gettid());
	if ((long)way == SEND)
		done = send(fd, bytes, ALL, MSG_NOSIGNAL);
	else
		done = recv(fd, bytes, 20, (long)way == RECEIVE_ALL ? MSG_WAITALL : 0);
	over = true;
	return NULL;
}

void alice(void)
{
	for (int i = 0; i < 2 * WAYS; i++) {
		long way = i % WAYS;
		int on = 1;
		fd = pair_up();
		give(0, 0);
		over = false;
		meet();
		pthread_t waiter = thread(waits, (void *)way);
		while (!take(0))
			nap_ms(1);
		if (way == SEND)
			await(i);
		else
			settle_asleep(take(0));
		set_nonblocking(fd, true);
		/* A stream with stamps stays on TCP. */
		if (i >= WAYS)
			TRY(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
		nap_ms(50);
		if (way != SEND)
			say("waits on: %d", !over);
		post(16 + i);
		pthread_join(waiter, NULL);
		say("done: %ld", done);
		TRY(recv(fd, bytes, 1, 0));
		meet();
		TRY(close(fd));
	}
}

void bob(void)
{
	for (int i = 0; i < 2 * WAYS; i++) {
		int way = i % WAYS, own = pair_up();
		long got = 0;
		if (way == RECEIVE_ALL)
			send_all(own, bytes, 5);
		meet();
		/* Slower than alice, who has to wait again and again; and enough before the word is given. */
		while (way == SEND && got < ALL) {
			long n = MUST(recv(own, bytes, 4096, 0));
			CHECK(n > 0);
			got += n;
			if (got >= ALL / 8)
				post(i);
			for (volatile int j = 0; j < 20000; j++)
				;
		}
		await(16 + i);
		if (way != SEND)
			send_all(own, bytes, way == RECEIVE_ALL ? 15 : 20);
		meet();
		TRY(recv(own, bytes, 1, 0));
		close(own);
	}
}
