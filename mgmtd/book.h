/* book: the subscribers that are known by name, in one sqlite3 file.
 *
 * What       realm and inside address, name, and which limits are the subscriber's own. What is written here is put into
 *            the arena again whenever mgmtd starts.
 * Units      quota units (shm/subscriber.h).
 * Ownership  open allocates, close frees. The book's lock is also what orders those who change subscribers in the arena
 *            in mgmtd's name.
 * Calls      any thread. put and remove hold the lock for an fsync.
 * Errors     0 or -errno: -ENOENT when there is no such subscriber, -EIO and the like from the file. open: NULL and one
 *            sentence.
 * Use        b = book_open(config->subscribers.file, &err); book_restore(b, arena); book_put(b, arena, key, &record);
 *
 * Order      into the file first, then into the arena; out likewise. So what a death in between leaves is mended by
 *            book_restore, which makes the arena agree with the file.
 */
#ifndef CORENAT_MGMTD_BOOK_H
#define CORENAT_MGMTD_BOOK_H

#include "shm/subscriber.h"

struct book_error {
	char text[320];
};

struct book;

struct book *book_open(const char *file, struct book_error *err);
void book_close(struct book *b); /* NULL is fine */

/* Makes the arena agree with the file; how many there are, or -errno. */
int64_t book_restore(struct book *b, struct arena *a);

int book_put(struct book *b, struct arena *a, struct subscriber_key key, const struct subscriber_record *r);
int book_remove(struct book *b, struct arena *a, struct subscriber_key key);

#endif
