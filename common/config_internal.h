/* config_internal: what the files of the configuration module share; nobody else includes it.
 *
 * What       the steps of config_parse: scan the text, read the rows, complete, check the rules.
 * Units      sizes in bytes.
 * Ownership  callers own everything they pass; nothing is kept.
 * Calls      pure; any thread.
 * Errors     false, with the sentence in *err.
 */
#ifndef CORENAT_CONFIG_INTERNAL_H
#define CORENAT_CONFIG_INTERNAL_H

#include "common/config.h"
#include "common/options.h"

#include <json-c/json.h>

enum {
	OPTION_NAME_SIZE = 96,         /* "pools[15].addresses[63]" and any key worth showing */
	CONFIG_TEXT_MAX = 1024 * 1024, /* bytes of a document; a full one takes under 512 KiB */
};

/* Writes the sentence and returns false, so that rules can `return config_refuse(...)`. */
bool config_refuse(struct config_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Is the text JSON by RFC 8259, without duplicate keys? json-c alone lets too much pass. */
bool config_scan(const char *text, size_t size, struct config_error *err);

/* One option on its way in or out. */
struct slot {
	const struct option *option;
	char name[OPTION_NAME_SIZE]; /* as shown to people: "pools[2].name" */
	uint8_t *base;               /* struct config, or the list entry the row's offsets count from */
	struct config_error *err;
};

bool slot_read(struct slot *slot, json_object *value);
json_object *slot_write(struct slot *slot);

/* Reads or writes all rows whose path begins with `group` ("" or "pools[].") and names no list
 * below it. */
bool config_read_group(
	json_object *object, const char *group, const char *shown, uint8_t *base, struct config_error *err);
json_object *config_write_group(const char *group, uint8_t *base);

/* What the option's path is within the group, or NULL when it is not of this group. */
const char *option_in_group(const struct option *option, const char *group);

/* The rules between options. */
bool config_check(const struct config *c, struct config_error *err);
/* Of config_realms.c: names, VLANs and prefixes of realms, and inside.prefixes. */
bool config_check_realms(const struct config *c, struct config_error *err);
/* Those of config_nat.c: of pools[].exclude and pools[].drain, and the rest of the NAT behaviour. */
bool config_check_pool_parts(const struct config *c, struct config_error *err);
bool config_check_nat(const struct config *c, struct config_error *err);
/* Of config_ports.c: how ports are allocated; when all else is right. */
bool config_check_allocation(const struct config *c, struct config_error *err);

/* Of config_limits.c. */
bool config_check_limits(const struct config *c, struct config_error *err);

/* True when they overlap; *common is where. */
bool range_overlap(struct address_range a, struct address_range b, struct address_range *common);
/* The first part of `range` that no host on the Internet or behind this box may have (RFC 6890). */
bool find_reserved(struct address_range range, struct address_range *found);
/* Names that appear in paths of the API and in file names keep to letters, digits, '.', '_' and '-'. */
bool is_plain_name(const char *name);
/* As the document writes it. */
const char *behaviour_name(enum behaviour behaviour);

/* "a.b.c.d", "a.b.c.d/len" or "first-last", whichever says it shortest. */
void range_format(struct address_range range, char *out, size_t size);
struct address_range prefix_range(struct prefix prefix);

#endif
