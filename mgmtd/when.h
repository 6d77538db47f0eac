/* when: points in time as people and programs write them.
 *
 * What       seconds since 1970 ("1795787587", "1795787587.25"), or ISO 8601 with its zone ("2026-11-27T14:03:07Z",
 *            "2026-11-27 14:03:07.5+01:00"). A time without a zone is refused: who is asked for by a court must not
 *            depend on where the box stands (RFC 6302 wants UTC in logs).
 * Units      milliseconds since 1970.
 * Ownership  none.
 * Calls      pure; any thread.
 * Errors     false.
 * Use        if (!when_read(text, &ms)) refuse(WHEN_FORMS);
 */
#ifndef CORENAT_MGMTD_WHEN_H
#define CORENAT_MGMTD_WHEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEN_FORMS "seconds since 1970, or like 2026-11-27T14:03:07Z or 2026-11-27T15:03:07+01:00"

enum { WHEN_SIZE = 32 };

/* Years 1970 to 9999. */
bool when_read(const char *text, int64_t *ms);
/* "2026-11-27T14:03:07Z", with milliseconds when there are some. */
void when_write(int64_t ms, char out[WHEN_SIZE]);

#endif
