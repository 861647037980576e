/* Several threads write, and several read, one endpoint at once: every record whole, none lost, none twice. */
#include "case.h"

enum { THREADS = 4, RECORDS = 2000, RECORD = 64 };
static int fd;
static _Atomic int seen[THREADS][RECORDS];

static void *writer(void *number)
{
	unsigned char record[RECORD];
	for (int i = 0; i < RECORDS; i++) {
		uint32_t head[2] = {(uint32_t)(long)number, i};
		fill(record, RECORD, head[0] * RECORDS + i, 0);
		memcpy(record, head, sizeof head);
		CHECK(send(fd, record, RECORD, 0) == RECORD);
		/* Never more on the way than fits, so that every send is one step of the kernel's. */
		if (i % 50 == 49)
			while (take((long)number) < i)
				nap_ms(1);
	}
	return NULL;
}

static void look(const unsigned char *record)
{
	uint32_t head[2];
	unsigned char should[RECORD];
	memcpy(head, record, sizeof head);
	CHECK(head[0] < THREADS && head[1] < RECORDS);
	fill(should, RECORD, head[0] * RECORDS + head[1], 0);
	CHECK(!memcmp(should + 8, record + 8, RECORD - 8));
	CHECK(!atomic_fetch_add(&seen[head[0]][head[1]], 1));
	if (head[1] % 50 == 49)
		give(head[0], head[1]);
}

static void *reader(void *number)
{
	/* A record at a time: the kernel keeps MSG_WAITALL reads of many threads apart only while none sleeps with a
	 * part, so take what is surely whole: multiples of a record arrive whole on loopback. */
	(void)number;
	unsigned char record[RECORD];
	for (;;) {
		long got = recv(fd, record, RECORD, 0);
		if (got == 0)
			return NULL;
		CHECK(got == RECORD);
		look(record);
	}
}

void alice(void)
{
	fd = pair_up();
	pthread_t threads[THREADS];
	for (long i = 0; i < THREADS; i++)
		threads[i] = thread(writer, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	TRY(shutdown(fd, SHUT_WR));
	char byte;
	TRY(recv(fd, &byte, 1, 0));
}

void bob(void)
{
	fd = pair_up();
	pthread_t threads[THREADS];
	for (long i = 0; i < THREADS; i++)
		threads[i] = thread(reader, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < RECORDS; j++)
			CHECK(seen[i][j] == 1);
	say("all records once");
	TRY(close(fd));
}
