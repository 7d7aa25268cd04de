#include "supervisor/command.h"

#include <stddef.h>
#include <string.h>

bool command_parse(char *line, struct command *ret_command)
{
    static const struct {
        const char *word;
        enum command_kind kind;
        bool takes_argument;
    } COMMANDS[] = {
        {"restart", COMMAND_RESTART, true},
        {"start", COMMAND_START, true},
        {"status", COMMAND_STATUS, false},
        {"stop", COMMAND_STOP, false},
    };
    char *argument = strchr(line, ' ');
    if (argument)
        *argument++ = '\0';
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (strcmp(line, COMMANDS[i].word) != 0)
            continue;
        if ((argument != NULL) != COMMANDS[i].takes_argument)
            return false;
        *ret_command = (struct command){.kind = COMMANDS[i].kind, .argument = argument};
        return true;
    }
    return false;
}
