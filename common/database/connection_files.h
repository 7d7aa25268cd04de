/* The files libpq reads when it connects: certificates, keys, passwords. For the sandbox. */
#pragma once

/*
 * Calls each(context, path) for every file that the connection string, the environment
 * (PGSSLROOTCERT and the like) or libpq's own defaults below HOME name. url: may be empty. path:
 * absolute, borrowed for the call; need not exist.
 */
void connection_files(const char *url, void (*each)(void *context, const char *path),
                      void *context);
