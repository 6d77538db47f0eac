/* xdp_dir: the directory of pins, as a place and as a lock.
 *
 * What       makes the directory, mounts a bpffs on it if it is not on one, and locks it (flock).
 * Units      none.
 * Ownership  the descriptor is the lock: close it to unlock.
 * Calls      pe/xdp*.c, any process.
 * Errors     negative errno; the caller logs.
 * Use        fd = xdp_dir_lock(path, true); ...; close(fd);
 */
#ifndef CORENAT_PE_XDP_DIR_H
#define CORENAT_PE_XDP_DIR_H

#include <stdbool.h>

/* Waits for the lock. Without `make`, -ENOENT when the directory is missing or not on a bpffs. */
int xdp_dir_lock(const char *path, bool make);

#endif
