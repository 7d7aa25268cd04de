#include "process/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_ready(void)
{
    static const char MESSAGE[] = "READY=1";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, len);
    /* A leading @ stands for the abstract name space. */
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    /* Nobody listening is the supervisor's concern: it waits for this with a time-out. */
    (void)!sendto(fd, MESSAGE, sizeof(MESSAGE) - 1, MSG_NOSIGNAL, (struct sockaddr *)&address,
                  size);
    close(fd);
}
