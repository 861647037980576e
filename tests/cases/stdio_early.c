/* Wrapped by stdio from the start: such a connection stays on TCP, whatever it does, and works. */
#include "case.h"

static char in[1000];

void alice(void)
{
	int fd = joined();
	FILE *file = fdopen(fd, "r+");
	setvbuf(file, NULL, _IOLBF, 1000);
	for (int i = 0; i < 500; i++) {
		fprintf(file, "question %d\n", i);
		fflush(file);
		CHECK(fgets(in, sizeof in, file));
		char should[100];
		snprintf(should, sizeof should, "answer to question %d\n", i);
		CHECK(!strcmp(in, should));
	}
	say("done");
	fclose(file);
}

void bob(void)
{
	int fd = joined();
	FILE *input = fdopen(fd, "r"), *output = fdopen(dup(fd), "w");
	int lines = 0;
	while (fgets(in, sizeof in, input)) {
		fprintf(output, "answer to %s", in);
		fflush(output);
		lines++;
	}
	say("lines %d", lines);
	fclose(input);
	fclose(output);
}
