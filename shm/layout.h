/* layout: the arena as a file format: every shared field with its offset and size.
 *
 * What       one table of fields. From it come the layout hash that keeps builds apart (arena_layout) and the byte
 *            map in docs/arena-map.md, which a test holds against the code.
 * Units      bytes. Ownership  constants. Calls  any. Errors  none.
 */
#ifndef CORENAT_SHM_LAYOUT_H
#define CORENAT_SHM_LAYOUT_H

#include <stdint.h>
#include <stdio.h>

/* Hash of every shared structure's size, of every field's place and size, and of the slab classes: two builds that
 * disagree on any cannot share an arena. */
uint32_t arena_layout(void);

/* The byte map as Markdown. */
void layout_print(FILE *to);

#endif
