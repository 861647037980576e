/* Two processes write records into one moved connection at the same time, and two read them on the other side. */
#include "case.h"

enum { RECORDS = 3000, RECORD = 64 };

static void write_records(int fd, uint32_t who)
{
	unsigned char record[RECORD];
	for (int i = 0; i < RECORDS; i++) {
		fill(record, RECORD, who, (size_t)i * RECORD);
		memcpy(record, &who, 4);
		memcpy(record + 4, &i, 4);
		CHECK(send(fd, record, RECORD, 0) == RECORD);
		/* Less than a segment is ever under way: no record is cut in two. */
		if (i % 50 == 49)
			while (take(who) + take(who + 2) < i - 100)
				nap_ms(1);
	}
}

static void read_records(int fd, int reader)
{
	/* Counts, per writer, in words that both readers and the writers see. */
	unsigned char record[RECORD], should[RECORD];
	long sum[2] = {0, 0}, last[2] = {-1, -1}, got;
	while ((got = MUST(recv(fd, record, RECORD, 0))) > 0) {
		uint32_t who;
		int i;
		CHECK(got == RECORD);
		memcpy(&who, record, 4);
		memcpy(&i, record + 4, 4);
		CHECK(who < 2 && i > last[who] && i < RECORDS);
		last[who] = i;
		fill(should, RECORD, who, (size_t)i * RECORD);
		CHECK(!memcmp(record + 8, should + 8, RECORD - 8));
		sum[who]++;
		give(who + 2 * reader, sum[who]);
	}
}

void alice(void)
{
	int fd = pair_up(), status;
	pid_t child = MUST(fork());
	write_records(fd, !child);
	if (!child)
		_exit(0);
	waitpid(child, &status, 0);
	say_status("child", status);
	TRY(shutdown(fd, SHUT_WR));
	char byte;
	TRY(recv(fd, &byte, 1, 0));
}

void bob(void)
{
	int fd = pair_up(), status;
	pid_t child = MUST(fork());
	read_records(fd, !child);
	if (!child)
		_exit(0);
	waitpid(child, &status, 0);
	say_status("child", status);
	say("records %ld and %ld", take(0) + take(2), take(1) + take(3));
}
