/*
 * Tells the supervisor that requests are served: the sd_notify protocol (systemd, sd_notify(3)), a
 * datagram to the Unix socket named by NOTIFY_SOCKET. Does nothing without that variable.
 */
#pragma once

void notify_ready(void);
