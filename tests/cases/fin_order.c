/* Many small writes that nobody reads yet, perhaps across the switch; the reader ends its own direction first, the writer
 * closes, and only then is everything read, in order. */
#include "case.h"

enum { PIECES = 60, PIECE = 100 };
static char data[PIECES * PIECE], in[PIECES * PIECE + 1];

void alice(void)
{
	for (int trips = 0; trips < 4; trips++) {
		int fd = trips ? joined() : pair_up();
		for (int i = 0; i < trips * 3; i++) {
			send_all(fd, data, 10);
			recv_all(fd, in, 10);
		}
		fill(data, sizeof data, trips, 0);
		for (int i = 0; i < PIECES; i++) {
			send_all(fd, data + i * PIECE, PIECE);
			nap_ms(i % 10 == 0);
		}
		meet();
		meet();
		TRY(recv(fd, in, 1, 0));
		TRY(close(fd));
		meet();
	}
}

void bob(void)
{
	for (int trips = 0; trips < 4; trips++) {
		int fd = trips ? joined() : pair_up();
		for (int i = 0; i < trips * 3; i++) {
			recv_all(fd, in, 10);
			send_all(fd, in, 10);
		}
		meet();
		TRY(shutdown(fd, SHUT_WR));
		meet();
		meet();
		say_bytes("all", in, TRY(recv(fd, in, sizeof in, MSG_WAITALL)));
		CHECK(is_fill(in, sizeof data, trips, 0));
		TRY(recv(fd, in, 1, 0));
		close(fd);
	}
}
