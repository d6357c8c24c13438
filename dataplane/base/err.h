/* One error text, filled by the function that fails and printed by the one that decides.
 * Set-up functions return 0 or a negative errno and fill *err; predicates return bool; stages return
 * counts. Any thread; a struct err belongs to its caller. */
#ifndef SLUICE_ERR_H
#define SLUICE_ERR_H

struct err {
	char text[512];
};

/* Formats the text (cut to fit) and returns `code`, so that `return err_set(err, -EINVAL, ...)` reads well.
 * err may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is already there. */
void err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
