/* Each option type: JSON value to bytes of struct config, and back. */
#include "common/config_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPU_MAX = 255 };

static const char *json_kind(json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_boolean:
		return "true or false";
	case json_type_double:
		return "a fraction";
	case json_type_int:
		return "a number";
	case json_type_object:
		return "an object";
	case json_type_array:
		return "a list";
	case json_type_string:
		return "a text";
	default:
		return "null";
	}
}

static bool want(const struct slot *s, json_object *v, enum json_type type, const char *what)
{
	if (json_object_is_type(v, type))
		return true;
	return config_refuse(s->err, "%s: must be %s, got %s", s->name, what, json_kind(v));
}

/* Integer members of struct config come in three widths. */
static void store(void *dest, size_t size, uint64_t v)
{
	uint8_t v8 = (uint8_t)v;
	uint16_t v16 = (uint16_t)v;
	uint32_t v32 = (uint32_t)v;

	assert(size == 1 || size == 2 || size == 4);
	memcpy(dest, size == 1 ? (void *)&v8 : size == 2 ? (void *)&v16 : (void *)&v32, size);
}

static uint64_t load(const void *src, size_t size)
{
	uint8_t v8;
	uint16_t v16;
	uint32_t v32;

	switch (size) {
	case 1:
		memcpy(&v8, src, size);
		return v8;
	case 2:
		memcpy(&v16, src, size);
		return v16;
	default:
		assert(size == 4);
		memcpy(&v32, src, size);
		return v32;
	}
}

/* ---- integers and choices ---- */

static bool read_bounded(const struct slot *s, json_object *v, uint64_t min, uint64_t max, uint64_t *out)
{
	const struct option *o = s->option;
	int64_t n = json_object_get_int64(v);

	if (json_object_is_type(v, json_type_double))
		return config_refuse(
			s->err, "%s: must be a whole number, got %s", s->name, json_object_to_json_string(v));
	if (!want(s, v, json_type_int, "a whole number"))
		return false;
	if (n >= 0 && (uint64_t)n >= min && (uint64_t)n <= max) {
		*out = (uint64_t)n;
		return true;
	}
	return config_refuse(s->err,
		"%s: %" PRId64 " is out of range; give a whole number from %" PRIu64 " to %" PRIu64 "%s%s%s", s->name,
		n, min, max, o->source ? " (" : "", o->source ? o->source : "", o->source ? ")" : "");
}

static bool read_integer(struct slot *s, json_object *v, void *dest)
{
	uint64_t n = 0;

	if (!read_bounded(s, v, s->option->min, s->option->max, &n))
		return false;
	store(dest, s->option->value.size, n);
	return true;
}

static json_object *write_integer(const struct slot *s, void *src)
{
	return json_object_new_int64((int64_t)load(src, s->option->value.size));
}

static bool read_choice(struct slot *s, json_object *v, void *dest)
{
	char list[128];
	size_t used = 0;

	if (!want(s, v, json_type_string, "a text"))
		return false;
	for (unsigned i = 0; s->option->choices[i] != NULL; i++) {
		if (strcmp(s->option->choices[i], json_object_get_string(v)) == 0) {
			store(dest, s->option->value.size, i);
			return true;
		}
		used += (size_t)snprintf(
			list + used, sizeof(list) - used, "%s\"%s\"", i == 0 ? "" : " or ", s->option->choices[i]);
		assert(used < sizeof(list));
	}
	return config_refuse(s->err, "%s: \"%.40s\" is not known; give %s", s->name, json_object_get_string(v), list);
}

static json_object *write_choice(const struct slot *s, void *src)
{
	return json_object_new_string(s->option->choices[load(src, s->option->value.size)]);
}

/* ---- texts ---- */

static bool read_string(struct slot *s, json_object *v, void *dest)
{
	const char *text = json_object_get_string(v);
	size_t len;

	if (!want(s, v, json_type_string, "a text"))
		return false;
	len = (size_t)json_object_get_string_len(v);
	if (len < s->option->min || len > s->option->max)
		return config_refuse(s->err, "%s: \"%.40s\" has %zu characters; give %" PRIu64 " to %" PRIu64, s->name,
			text, len, s->option->min, s->option->max);
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return config_refuse(
				s->err, "%s: has a character outside printable ASCII; give plain text", s->name);
	assert(len < s->option->value.size);
	memcpy(dest, text, len);
	return true;
}

static bool read_path(struct slot *s, json_object *v, void *dest)
{
	if (!read_string(s, v, dest))
		return false;
	if (*(const char *)dest != '/')
		return config_refuse(s->err, "%s: \"%s\" is not absolute; begin with '/'", s->name, (const char *)dest);
	return true;
}

static json_object *write_string(const struct slot *s, void *src)
{
	(void)s;
	return json_object_new_string(src);
}

static int hex_digit(char ch)
{
	const char *digits = "0123456789abcdef", *at;

	if (ch >= 'A' && ch <= 'F')
		ch = (char)(ch - 'A' + 'a');
	at = ch == '\0' ? NULL : strchr(digits, ch);
	return at == NULL ? -1 : (int)(at - digits);
}

static bool read_key(struct slot *s, json_object *v, void *dest)
{
	const struct option *o = s->option;
	const char *text = json_object_get_string(v);
	uint8_t *key = dest;
	size_t len;

	if (!want(s, v, json_type_string, "a text of hex digits"))
		return false;
	len = (size_t)json_object_get_string_len(v);
	if (len != o->min && len != o->max)
		return config_refuse(s->err,
			"%s: has %zu hex digits; give %" PRIu64 " (40 bytes) or %" PRIu64 " (52 bytes)", s->name, len,
			o->min, o->max);
	for (size_t i = 0; i < len; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0)
			return config_refuse(
				s->err, "%s: digit %zu is not one of 0-9, a-f; give hex digits only", s->name, i + 1);
		key[i / 2] = (uint8_t)(key[i / 2] << 4 | digit);
	}
	store(s->base + o->count.offset, o->count.size, len / 2);
	return true;
}

static json_object *write_key(const struct slot *s, void *src)
{
	const uint8_t *key = src;
	size_t n = load(s->base + s->option->count.offset, s->option->count.size);
	char text[2 * RSS_KEY_SIZE + 1] = "";

	for (size_t i = 0; i < n && i < RSS_KEY_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", key[i]);
	return json_object_new_string(text);
}

/* ---- entries of lists ---- */

static bool read_cpu(struct slot *s, json_object *v, void *dest)
{
	uint64_t n = 0;

	if (!read_bounded(s, v, 0, CPU_MAX, &n))
		return false;
	store(dest, sizeof(uint8_t), n);
	return true;
}

static bool read_queue(struct slot *s, json_object *v, void *dest)
{
	uint64_t n = 0;

	if (!read_bounded(s, v, 0, ENGINE_MAX - 1, &n))
		return false;
	store(dest, sizeof(uint8_t), n);
	return true;
}

static bool read_port(struct slot *s, json_object *v, void *dest)
{
	uint64_t n = 0;

	if (!read_bounded(s, v, 1, UINT16_MAX, &n))
		return false;
	store(dest, sizeof(uint16_t), n);
	return true;
}

static json_object *write_port(const struct slot *s, void *src)
{
	(void)s;
	return json_object_new_int(*(const uint16_t *)src);
}

static json_object *write_byte(const struct slot *s, void *src)
{
	(void)s;
	return json_object_new_int(*(const uint8_t *)src);
}

/* Dotted quad of `len` characters, exactly. */
static bool read_address(const char *text, size_t len, uint32_t *host)
{
	char copy[INET_ADDRSTRLEN];
	struct in_addr in;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (strlen(copy) != len || inet_pton(AF_INET, copy, &in) != 1)
		return false;
	*host = ntohl(in.s_addr);
	return true;
}

static bool read_ipv4(struct slot *s, json_object *v, void *dest)
{
	const char *text = json_object_get_string(v);

	if (!want(s, v, json_type_string, "a text"))
		return false;
	if (read_address(text, strlen(text), dest))
		return true;
	return config_refuse(s->err, "%s: \"%.40s\" is not an IPv4 address; write it like 192.0.2.1", s->name, text);
}

static json_object *write_ipv4(const struct slot *s, void *src)
{
	struct in_addr in = {htonl(*(const uint32_t *)src)};
	char text[INET_ADDRSTRLEN];

	(void)s;
	inet_ntop(AF_INET, &in, text, sizeof(text));
	return json_object_new_string(text);
}

static uint32_t host_bits(unsigned len)
{
	return len == 0 ? UINT32_MAX : (uint32_t)((1ull << (32 - len)) - 1);
}

struct address_range prefix_range(struct prefix prefix)
{
	return (struct address_range){prefix.addr, prefix.addr | host_bits(prefix.len)};
}

/* "a.b.c.d/len" with no host bits set. */
static bool parse_prefix(const struct slot *s, const char *text, struct prefix *out)
{
	const char *slash = strchr(text, '/');
	char *end = NULL, right[32];
	unsigned long len = slash != NULL && hex_digit(slash[1]) >= 0 ? strtoul(slash + 1, &end, 10) : UINT32_MAX;

	if (slash == NULL || !read_address(text, (size_t)(slash - text), &out->addr) || len > 32 || *end != '\0' ||
		(slash[1] == '0' && slash[2] != '\0'))
		return config_refuse(
			s->err, "%s: \"%.40s\" is not an IPv4 prefix; write it like 192.0.2.0/24", s->name, text);
	out->len = (uint8_t)len;
	if ((out->addr & host_bits(out->len)) == 0)
		return true;
	out->addr &= ~host_bits(out->len);
	snprintf(right, sizeof(right), "%u.%u.%u.%u/%u", out->addr >> 24, out->addr >> 16 & 255, out->addr >> 8 & 255,
		out->addr & 255, out->len);
	return config_refuse(s->err, "%s: \"%.40s\" has host bits set; the prefix is %s", s->name, text, right);
}

static bool read_prefix(struct slot *s, json_object *v, void *dest)
{
	return want(s, v, json_type_string, "a text") && parse_prefix(s, json_object_get_string(v), dest);
}

static bool read_range(struct slot *s, json_object *v, void *dest)
{
	struct address_range *range = dest;
	const char *text = json_object_get_string(v), *dash;
	struct prefix prefix = {0};
	bool ok;

	if (!want(s, v, json_type_string, "a text"))
		return false;
	if (strchr(text, '/') != NULL) {
		if (!parse_prefix(s, text, &prefix))
			return false;
		*range = prefix_range(prefix);
		return true;
	}
	dash = strchr(text, '-');
	ok = read_address(text, dash ? (size_t)(dash - text) : strlen(text), &range->first);
	range->last = range->first;
	if (ok && dash != NULL)
		ok = read_address(dash + 1, strlen(dash + 1), &range->last);
	if (!ok)
		return config_refuse(s->err,
			"%s: \"%.40s\" is not an address; write it like 192.0.2.1, 192.0.2.0/28 or "
			"192.0.2.1-192.0.2.9",
			s->name, text);
	if (range->first > range->last)
		return config_refuse(
			s->err, "%s: \"%.40s\" runs backwards; put the lower address first", s->name, text);
	return true;
}

void range_format(struct address_range range, char *out, size_t size)
{
	struct in_addr first = {htonl(range.first)}, last = {htonl(range.last)};
	uint64_t n = (uint64_t)range.last - range.first + 1;
	char a[INET_ADDRSTRLEN], b[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &first, a, sizeof(a));
	inet_ntop(AF_INET, &last, b, sizeof(b));
	if (n == 1)
		snprintf(out, size, "%s", a);
	else if ((n & (n - 1)) == 0 && (range.first & (n - 1)) == 0)
		snprintf(out, size, "%s/%d", a, 32 - __builtin_ctzll(n));
	else
		snprintf(out, size, "%s-%s", a, b);
}

static json_object *write_prefix(const struct slot *s, void *src)
{
	const struct prefix *prefix = src;
	struct in_addr in = {htonl(prefix->addr)};
	char addr[INET_ADDRSTRLEN], text[INET_ADDRSTRLEN + 4];

	(void)s;
	inet_ntop(AF_INET, &in, addr, sizeof(addr));
	snprintf(text, sizeof(text), "%s/%u", addr, prefix->len);
	return json_object_new_string(text);
}

static json_object *write_range(const struct slot *s, void *src)
{
	char text[2 * INET_ADDRSTRLEN];

	(void)s;
	range_format(*(const struct address_range *)src, text, sizeof(text));
	return json_object_new_string(text);
}

/* A port of up to five digits, exactly. */
static bool parse_port(const char *text, size_t len, uint16_t *port)
{
	uint32_t n = 0;

	if (len == 0 || len > 5 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = 10 * n + (uint32_t)(text[i] - '0');
	}
	*port = (uint16_t)n;
	return n <= UINT16_MAX;
}

static bool read_port_range(struct slot *s, json_object *v, void *dest)
{
	struct port_range *range = dest;
	const char *text = json_object_get_string(v), *dash;
	bool ok;

	if (!want(s, v, json_type_string, "a text"))
		return false;
	dash = strchr(text, '-');
	ok = parse_port(text, dash ? (size_t)(dash - text) : strlen(text), &range->first);
	range->last = range->first;
	if (ok && dash != NULL)
		ok = parse_port(dash + 1, strlen(dash + 1), &range->last);
	if (!ok)
		return config_refuse(s->err,
			"%s: \"%.40s\" is not a port from 0 to 65535; write it like 1080 or 3128-3130", s->name, text);
	if (range->first > range->last)
		return config_refuse(s->err, "%s: \"%.40s\" runs backwards; put the lower port first", s->name, text);
	return true;
}

static json_object *write_port_range(const struct slot *s, void *src)
{
	const struct port_range *range = src;
	char text[16];

	(void)s;
	if (range->first == range->last)
		snprintf(text, sizeof(text), "%u", range->first);
	else
		snprintf(text, sizeof(text), "%u-%u", range->first, range->last);
	return json_object_new_string(text);
}

static bool read_object(struct slot *s, json_object *v, void *dest)
{
	char group[OPTION_NAME_SIZE], shown[OPTION_NAME_SIZE + 1];

	snprintf(group, sizeof(group), "%s[].", s->option->path);
	snprintf(shown, sizeof(shown), "%s.", s->name);
	return want(s, v, json_type_object, "an object") && config_read_group(v, group, shown, dest, s->err);
}

static json_object *write_object(const struct slot *s, void *src)
{
	char group[OPTION_NAME_SIZE];

	snprintf(group, sizeof(group), "%s[].", s->option->path);
	return config_write_group(group, src);
}

/* ---- all types ---- */

static const struct {
	bool (*read)(struct slot *slot, json_object *value, void *dest);
	json_object *(*write)(const struct slot *slot, void *src);
	bool list; /* as many entries as the row's max make up its value */
} types[N_OPTION_TYPES] = {
	[OPTION_INTEGER] = {read_integer, write_integer, false},
	[OPTION_CHOICE] = {read_choice, write_choice, false},
	[OPTION_STRING] = {read_string, write_string, false},
	[OPTION_PATH] = {read_path, write_string, false},
	[OPTION_KEY] = {read_key, write_key, false},
	[OPTION_CPUS] = {read_cpu, write_byte, true},
	[OPTION_TABLE] = {read_queue, write_byte, true},
	[OPTION_PORTS] = {read_port, write_port, true},
	[OPTION_ADDRESS] = {read_ipv4, write_ipv4, false},
	[OPTION_PREFIXES] = {read_prefix, write_prefix, true},
	[OPTION_ADDRESSES] = {read_range, write_range, true},
	[OPTION_RANGES] = {read_port_range, write_port_range, true},
	[OPTION_OBJECTS] = {read_object, write_object, true},
};

static size_t entry_size(const struct option *o)
{
	return o->value.size / o->max;
}

static bool read_list(struct slot *s, json_object *v)
{
	const struct option *o = s->option;
	size_t n = json_object_is_type(v, json_type_array) ? json_object_array_length(v) : 0;

	if (!want(s, v, json_type_array, "a list"))
		return false;
	if (n < o->min || n > o->max)
		return config_refuse(s->err, "%s: has %zu entries; give %" PRIu64 " to %" PRIu64 " %s", s->name, n,
			o->min, o->max, o->unit);
	for (size_t i = 0; i < n; i++) {
		struct slot item = {.option = o, .base = s->base, .err = s->err};

		snprintf(item.name, sizeof(item.name), "%.80s[%u]", s->name, (unsigned)i);
		if (!types[o->type].read(
			    &item, json_object_array_get_idx(v, i), s->base + o->value.offset + i * entry_size(o)))
			return false;
	}
	store(s->base + o->count.offset, o->count.size, n);
	return true;
}

bool slot_read(struct slot *s, json_object *v)
{
	if (types[s->option->type].list)
		return read_list(s, v);
	return types[s->option->type].read(s, v, s->base + s->option->value.offset);
}

json_object *slot_write(struct slot *s)
{
	const struct option *o = s->option;
	uint8_t *value = s->base + o->value.offset;
	size_t n;
	json_object *list;

	if (!types[o->type].list)
		return types[o->type].write(s, value);
	n = load(s->base + o->count.offset, o->count.size);
	list = json_object_new_array();
	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, types[o->type].write(s, value + i * entry_size(o)));
	return list;
}
