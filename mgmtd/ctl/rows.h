/* rows: answers of the API as a table, or as one JSON object a line.
 *
 * What       prints members of JSON objects below their titles.
 * Units      widths in characters. Ownership  borrows everything; the text is the object's and lives as long.
 * Calls      main thread. Errors  none: a member that is not there, or an empty list, is "-".
 * Use        rows_titles(columns, N_COLUMNS); rows_print(columns, N_COLUMNS, object);
 */
#ifndef CORENAT_MGMTD_CTL_ROWS_H
#define CORENAT_MGMTD_CTL_ROWS_H

#include <json-c/json.h>

struct rows_column {
	const char *key, *title;
	int width; /* negative: to the left */
};

const char *rows_text(struct json_object *row, const char *key);
void rows_titles(const struct rows_column *columns, int n);
void rows_print(const struct rows_column *columns, int n, struct json_object *row);
void rows_json(struct json_object *row);

#endif
