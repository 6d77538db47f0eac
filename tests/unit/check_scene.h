/* check_scene: an arena in which there is one of everything, for corruptions that the checker must find.
 *
 * What       the scene, ways to its objects, and what holds a corruption against its rule.
 * Units      slab indexes.
 * Ownership  the scene's box is closed by whoever made it.
 * Calls      the test's thread.
 * Errors     what is not there, and what is not found as it should be, ends the test.
 * Use        static const struct corruption list[] = {{BREAK(port_leaked)}}; scene_try_each(list, 1, tried);
 */
#ifndef CORENAT_TESTS_CHECK_SCENE_H
#define CORENAT_TESTS_CHECK_SCENE_H

#include "pe/nat_internal.h"
#include "shm/shared_slab.h"
#include "tests/unit/check_box.h"
#include "tests/unit/port_tools.h"

struct scene {
	struct box *b;
	uint32_t carrier; /* engine 0's, home, carries a mapping that `sharer` uses */
	uint32_t sharer;  /* engine 0's, home */
	uint32_t away;    /* engine 0's, carries; adopted by engine 1 */
	uint32_t other;   /* engine 1's, carries; nobody else has to do with it */
	struct tuple away_flow, other_flow, sharer_flow;
	char names[64]; /* what the object of the violation must begin with */
};

uint32_t scene_newest(const struct box *b, unsigned engine);
uint32_t scene_make_session(struct box *b, unsigned engine, struct tuple t);
struct scene scene_make(void);
struct session *scene_at(const struct scene *s, uint32_t index);
void scene_name_session(struct scene *s, uint32_t index);
struct page *scene_page_of(const struct scene *s, uint32_t number);
uint32_t scene_page_number(uint32_t session);
uint32_t scene_free_page(const struct scene *s);
uint64_t scene_hash_of(const struct scene *s, struct flow_key key);
local_place scene_place(const struct scene *s, unsigned engine, enum dir dir, uint32_t index);
_Atomic uint64_t *scene_global_place(const struct global_table *t, uint32_t index);
_Atomic uint64_t *scene_global_room(const struct global_table *t);
struct port_table *scene_table_of(const struct scene *s, uint32_t index);
struct slab *scene_slab_of(const struct scene *s, unsigned actor);
struct subscriber_part *scene_part_of(const struct scene *s, unsigned engine, uint32_t inside);

/* What breaks a rule, and names the object that is to be found. */
struct corruption {
	const char *name;
	enum check_rule rule;
	void (*corrupt)(struct scene *s);
};
#define BREAK(r) .name = #r, .rule = CHECK_##r, .corrupt = break_##r
#define BREAK_TOO(r, how) .name = #r " " #how, .rule = CHECK_##r, .corrupt = break_##r##_##how

/* Rules of ports and blocks: test_check_ports.c. */
enum { FIRST_OF_PORTS = CHECK_port_leaked, LAST_OF_PORTS = CHECK_port_table_named };

void scene_try_each(const struct corruption *how, unsigned n, bool tried[N_CHECK_RULES]);
/* What does not move is found on a live box too; locks and intents of the living are their business. Some of them. */
void scene_try_live(const struct corruption *how, unsigned n);

#endif
