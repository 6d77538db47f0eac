/* Strict JSON (RFC 8259) over the raw text, before json-c builds the tree from it.
 *
 * json-c accepts duplicate keys (the last one wins), numbers beyond every range and, by version,
 * more. A configuration must not mean anything else than what stands in it, so the text is judged
 * here first.
 */
#include "common/config_internal.h"

#include <stdio.h>
#include <string.h>

enum {
	DEPTH_MAX = 8,    /* the document needs 4 */
	MEMBERS_MAX = 64, /* keys of one object; the largest has 18 */
	DIGITS_MAX = 18,  /* of a number: what int64_t surely holds */
};

struct cursor {
	const char *at, *end, *text;
	unsigned depth;
	struct config_error *err;
};

struct key {
	const char *at;
	size_t len;
};

static bool scan_value(struct cursor *c);

static bool refuse_here(const struct cursor *c, const char *what)
{
	unsigned line = 1, column = 1;

	for (const char *p = c->text; p < c->at; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	return config_refuse(c->err, "line %u, column %u: %s", line, column, what);
}

/* The byte at the cursor; -1 at the end. */
static int peek(const struct cursor *c)
{
	return c->at < c->end ? (unsigned char)*c->at : -1;
}

static void skip_space(struct cursor *c)
{
	while (c->at < c->end && *c->at != '\0' && strchr(" \t\r\n", *c->at) != NULL)
		c->at++;
}

static bool is_digit(int ch)
{
	return ch >= '0' && ch <= '9';
}

static bool is_hex(int ch)
{
	return is_digit(ch) || (ch >= 'a' && ch <= 'f') || (ch >= 'A' && ch <= 'F');
}

/* One UTF-8 sequence of two to four bytes, neither overlong nor a surrogate nor above U+10FFFF (RFC
 * 3629). */
static bool scan_utf8(struct cursor *c)
{
	static const struct {
		uint8_t lead_min, lead_max, second_min, second_max, more;
	} forms[] = {
		{0xc2, 0xdf, 0x80, 0xbf, 1},
		{0xe0, 0xe0, 0xa0, 0xbf, 2},
		{0xe1, 0xec, 0x80, 0xbf, 2},
		{0xed, 0xed, 0x80, 0x9f, 2},
		{0xee, 0xef, 0x80, 0xbf, 2},
		{0xf0, 0xf0, 0x90, 0xbf, 3},
		{0xf1, 0xf3, 0x80, 0xbf, 3},
		{0xf4, 0xf4, 0x80, 0x8f, 3},
	};
	const uint8_t *p = (const uint8_t *)c->at;

	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (p[0] < forms[i].lead_min || p[0] > forms[i].lead_max)
			continue;
		if (c->end - c->at <= forms[i].more || p[1] < forms[i].second_min || p[1] > forms[i].second_max)
			break;
		for (unsigned n = 2; n <= forms[i].more; n++)
			if ((p[n] & 0xc0) != 0x80)
				return refuse_here(c, "not valid UTF-8");
		c->at += forms[i].more + 1;
		return true;
	}
	return refuse_here(c, "not valid UTF-8");
}

/* A backslash and what follows it. No option needs more than ASCII, so \u is taken only for that:
 * surrogate pairs and \u0000 end here. */
static bool scan_escape(struct cursor *c)
{
	if (c->end - c->at < 2)
		return refuse_here(c, "text ends inside a string");
	if (c->at[1] == 'u') {
		bool ascii = c->end - c->at >= 6 && c->at[2] == '0' && c->at[3] == '0' && c->at[4] >= '0' &&
			     c->at[4] <= '7' && is_hex(c->at[5]);

		if (!ascii || (c->at[4] == '0' && c->at[5] == '0'))
			return refuse_here(c, "\\u escapes are taken from \\u0001 to \\u007f only");
		c->at += 6;
		return true;
	}
	if (c->at[1] == '\0' || strchr("\"\\/bfnrt", c->at[1]) == NULL)
		return refuse_here(c, "unknown escape in a string");
	c->at += 2;
	return true;
}

static bool scan_string(struct cursor *c)
{
	for (c->at++; peek(c) != '"';) {
		int ch = peek(c);

		if (ch < 0)
			return refuse_here(c, "text ends inside a string");
		if (ch < 0x20)
			return refuse_here(c, "control character in a string");
		if (ch == '\\') {
			if (!scan_escape(c))
				return false;
		} else if (ch >= 0x80) {
			if (!scan_utf8(c))
				return false;
		} else {
			c->at++;
		}
	}
	c->at++;
	return true;
}

static unsigned scan_digits(struct cursor *c)
{
	unsigned n = 0;

	for (; is_digit(peek(c)); n++)
		c->at++;
	return n;
}

static bool scan_number(struct cursor *c)
{
	const char *start = c->at;
	bool ok;

	c->at += peek(c) == '-';
	ok = peek(c) == '0' ? (c->at++, true) : scan_digits(c) > 0;
	if (ok && peek(c) == '.') {
		c->at++;
		ok = scan_digits(c) > 0;
	}
	if (ok && (peek(c) == 'e' || peek(c) == 'E')) {
		c->at++;
		c->at += peek(c) == '+' || peek(c) == '-';
		ok = scan_digits(c) > 0;
	}
	if (ok && !is_digit(peek(c)) && c->at - start <= DIGITS_MAX)
		return true;
	ok = ok && !is_digit(peek(c));
	c->at = start;
	return refuse_here(c, ok ? "number too long" : "not a JSON number");
}

static bool scan_word(struct cursor *c)
{
	static const char *const words[] = {"true", "false", "null"};

	for (unsigned i = 0; i < 3; i++) {
		size_t len = strlen(words[i]);

		if ((size_t)(c->end - c->at) >= len && memcmp(c->at, words[i], len) == 0) {
			c->at += len;
			return true;
		}
	}
	if (peek(c) == '/' || peek(c) == '#')
		return refuse_here(c, "JSON has no comments");
	return refuse_here(c, peek(c) < 0 ? "text ends where a value should stand" : "expected a value");
}

/* A key must be plain: with escapes, two spellings of one key could pass as two keys. */
static bool scan_key(struct cursor *c, struct key *keys, unsigned *n)
{
	struct key key = {c->at + 1, 0};

	if (peek(c) == '/' || peek(c) == '#')
		return refuse_here(c, "JSON has no comments");
	if (peek(c) != '"')
		return refuse_here(c, "expected an option name in double quotes");
	if (!scan_string(c))
		return false;
	key.len = (size_t)(c->at - key.at) - 1;
	c->at = key.at - 1;
	if (memchr(key.at, '\\', key.len) != NULL)
		return refuse_here(c, "option names have no escapes");
	for (unsigned i = 0; i < *n; i++)
		if (keys[i].len == key.len && memcmp(keys[i].at, key.at, key.len) == 0) {
			char what[80];

			snprintf(what, sizeof(what), "\"%.*s\" is given twice in one object",
				key.len < 40 ? (int)key.len : 40, key.at);
			return refuse_here(c, what);
		}
	if (*n == MEMBERS_MAX)
		return refuse_here(c, "too many options in one object");
	keys[(*n)++] = key;
	c->at = key.at + key.len + 1;
	return true;
}

static bool scan_member(struct cursor *c, struct key *keys, unsigned *n)
{
	if (!scan_key(c, keys, n))
		return false;
	skip_space(c);
	if (peek(c) != ':')
		return refuse_here(c, "expected ':'");
	c->at++;
	return scan_value(c);
}

/* An object or a list: both are items between brackets, with commas. */
static bool scan_items(struct cursor *c, char close)
{
	struct key keys[MEMBERS_MAX];
	unsigned n = 0;

	c->at++;
	skip_space(c);
	if (peek(c) == close) {
		c->at++;
		return true;
	}
	for (;;) {
		if (close == '}' ? !scan_member(c, keys, &n) : !scan_value(c))
			return false;
		skip_space(c);
		if (peek(c) == close) {
			c->at++;
			return true;
		}
		if (peek(c) == '/' || peek(c) == '#')
			return refuse_here(c, "JSON has no comments");
		if (peek(c) != ',')
			return refuse_here(c, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
		c->at++;
		skip_space(c);
	}
}

static bool scan_value(struct cursor *c)
{
	bool ok;

	skip_space(c);
	switch (peek(c)) {
	case '{':
	case '[':
		if (c->depth == DEPTH_MAX)
			return refuse_here(c, "nested too deep");
		c->depth++;
		ok = scan_items(c, peek(c) == '{' ? '}' : ']');
		c->depth--;
		return ok;
	case '"':
		return scan_string(c);
	default:
		return peek(c) == '-' || is_digit(peek(c)) ? scan_number(c) : scan_word(c);
	}
}

bool config_scan(const char *text, size_t size, struct config_error *err)
{
	struct cursor c = {text, text + size, text, 0, err};

	if (size > CONFIG_TEXT_MAX)
		return config_refuse(
			err, "document: %zu bytes are too many; at most %d are read", size, CONFIG_TEXT_MAX);
	if (!scan_value(&c))
		return false;
	skip_space(&c);
	if (peek(&c) == '/' || peek(&c) == '#')
		return refuse_here(&c, "JSON has no comments");
	if (c.at != c.end)
		return refuse_here(&c, "something follows the document's end");
	return true;
}
