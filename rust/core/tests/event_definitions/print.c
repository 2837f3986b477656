// Prints records as libtraceevent does. Standard input: lines of a letter and hexadecimal bytes; `F` is a format file,
// `R` a record of one of the formats before. A record is answered by a line, a format only if it cannot be read.
#include <stdio.h>
#include <stdlib.h>
#include <traceevent/event-parse.h>
#include <traceevent/trace-seq.h>

int main(void)
{
    struct tep_handle *tep = tep_alloc();
    char *line = NULL;
    size_t room = 0;

    tep_set_long_size(tep, 8);
    while (getline(&line, &room, stdin) > 1) {
        char *bytes = malloc(room);
        int size = 0;
        unsigned int byte;

        for (char *at = line + 1; sscanf(at, "%2x", &byte) == 1; at += 2)
            bytes[size++] = (char)byte;
        if (line[0] == 'F') {
            enum tep_errno error = tep_parse_event(tep, bytes, size, "test");

            if (error)
                printf("error %d\n", (int)error);
        } else {
            struct tep_record record = { .data = bytes, .size = size };
            struct trace_seq text;

            trace_seq_init(&text);
            tep_print_event(tep, &text, &record, "%s: %s", TEP_PRINT_NAME, TEP_PRINT_INFO);
            trace_seq_do_printf(&text);
            putchar('\n');
            trace_seq_destroy(&text);
        }
        free(bytes);
    }
    return 0;
}
