/* Writes the buffer that the programs read: make_input input|event. */
#include <stdio.h>
#include <string.h>
#include "input.h"

int main(int argc, char **argv)
{
	unsigned char buf[INPUT_LEN];

	if (argc != 2 || (strcmp(argv[1], "input") && strcmp(argv[1], "event")))
		return 2;
	fill_input(buf);
	if (!strcmp(argv[1], "event"))
		vm_exit_input(buf);
	return fwrite(buf, 1, sizeof(buf), stdout) != sizeof(buf);
}
