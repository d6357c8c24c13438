/* YAML trees: shape, places, and every refusal that the header promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "ytree.h"

static void refused(const char *text, size_t bytes, const char *place, const char *part)
{
	struct ytree tree;
	struct err err = {0};

	assert_int_equal(ytree_parse(&tree, text, bytes, "f.yaml", &err), -EINVAL);
	assert_null(tree.root);
	assert_null(tree.arena);
	if (strncmp(err.text, place, strlen(place)) || !strstr(err.text, part))
		fail_msg("want \"%s\" ... \"%s\", have \"%s\"", place, part, err.text);
}

static void refused_text(const char *text, const char *place, const char *part)
{
	refused(text, strlen(text), place, part);
}

static void test_shape_and_places(void **state)
{
	static const char text[] = "# top\n"
				   "a: 1\n"
				   "list:\n"
				   "  - x\n"
				   "  - {k: 'v', \"n\": null}\n"
				   "  - [1, 2,\n"
				   "     3]\n"
				   "empty:\n"
				   "block: |\n"
				   "  one\n"
				   "  two\n";
	struct ytree tree;
	struct err err;
	const struct ynode *list, *n;

	(void)state;
	assert_int_equal(ytree_parse(&tree, text, sizeof text - 1, "f.yaml", &err), 0);
	assert_int_equal(tree.root->kind, YNODE_MAP);
	assert_int_equal(tree.root->count, 4);
	n = ynode_get(tree.root, "a");
	assert_string_equal(n->text, "1");
	assert_false(n->quoted);
	assert_int_equal(n->line, 2);
	assert_int_equal(n->column, 4);
	assert_int_equal(n->key_line, 2);
	assert_int_equal(n->key_column, 1);
	list = ynode_get(tree.root, "list");
	assert_int_equal(list->kind, YNODE_SEQ);
	assert_int_equal(list->count, 3);
	assert_null(list->child->key);
	n = ynode_get(list->child->next, "k");
	assert_true(n->quoted);
	assert_string_equal(n->text, "v");
	assert_int_equal(n->line, 5);
	assert_int_equal(n->column, 9);
	n = list->child->next->next->child->next->next;
	assert_string_equal(n->text, "3");
	assert_int_equal(n->line, 7);
	assert_null(n->next);
	n = ynode_get(tree.root, "empty");
	assert_int_equal(n->text_bytes, 0);
	assert_false(n->quoted);
	n = ynode_get(tree.root, "block");
	assert_string_equal(n->text, "one\ntwo\n");
	assert_true(n->quoted);
	assert_null(ynode_get(tree.root, "none"));
	assert_null(ynode_get(n, "a"));
	assert_int_equal(ynode_err(&tree, n, &err, "bad %d", 7), -EINVAL);
	assert_string_equal(err.text, "f.yaml:9:8: bad 7");
	ytree_free(&tree);
	ytree_free(&tree);
}

static void test_empty(void **state)
{
	static const char *const texts[] = {
		"", "\n\n", "# only this\n", "---\n", "---\n# x\n...\n", "\xef\xbb\xbf"};
	struct ytree tree;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		assert_int_equal(ytree_parse(&tree, texts[i], strlen(texts[i]), "f", &err), 0);
		assert_null(tree.root);
		ytree_free(&tree);
	}
	assert_int_equal(ytree_parse(&tree, NULL, 0, "f", &err), 0);
	ytree_free(&tree);
	assert_int_equal(ytree_parse(&tree, "''", 2, "f", &err), 0);
	assert_non_null(tree.root); /* a quoted empty text is a value */
	ytree_free(&tree);
}

static void test_refusals(void **state)
{
	(void)state;
	refused_text("a: &x 1\n", "f.yaml:1:4: ", "anchors");
	refused_text("a: &x [1]\n", "f.yaml:1:4: ", "anchors");
	refused_text("a: 1\nb: *x\n", "f.yaml:2:4: ", "aliases");
	refused_text("a: !!str 1\n", "f.yaml:1:4: ", "tags");
	refused_text("a: !x {b: 1}\n", "f.yaml:1:4: ", "tags");
	refused_text("%TAG ! tag:x,2000:\n---\na: 1\n", "f.yaml:1:1: ", "tag directives");
	refused_text("a: {<<: {b: 1}}\n", "f.yaml:1:5: ", "merge keys");
	refused_text("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: ", "duplicate key a; the first is at line 1");
	refused_text("l: [{k: 1, 'k': 2}]\n", "f.yaml:1:12: ", "duplicate key k");
	refused_text("a: 1\n---\nb: 2\n", "f.yaml:2:1: ", "one document");
	refused_text("[a]: 1\n", "f.yaml:1:1: ", "key must be");
	refused_text("? {a: b}\n: 1\n", "f.yaml:1:3: ", "key must be");
	refused_text("a: \"x\\0y\"\n", "f.yaml:1:4: ", "NUL");
	refused_text("\"a\\0b\": 1\n", "f.yaml:1:1: ", "NUL");
	refused("a: x\0y\n", 7, "f.yaml:1:5: ", "control characters");
	refused_text("ok: 1\nbad: \xff\xfe\n", "f.yaml:2:6: ", "UTF-8");
	refused_text("a: [1, 2\n", "f.yaml:2:1: ", "");
	refused_text("a: 'open\n", "f.yaml:2:1: ", "from line 1");
	refused_text("a:\n\t- 1\n", "f.yaml:2:1: ", "");
}

static void test_bounds(void **state)
{
	char deep[200];
	struct ytree tree;
	struct err err;
	char *big;
	size_t n = YTREE_NODES_MAX;

	(void)state;
	memset(deep, '[', 33);
	memset(deep + 33, ']', 33);
	refused(deep, 66, "f.yaml:1:33: ", "nested too deeply");
	assert_int_equal(ytree_parse(&tree, deep + 1, 64, "f", &err), 0);
	ytree_free(&tree);
	big = malloc(YTREE_BYTES_MAX + 1);
	assert_non_null(big);
	memset(big, ' ', YTREE_BYTES_MAX + 1);
	refused(big, YTREE_BYTES_MAX + 1, "f.yaml:1:1: ", "at most");
	big[0] = '[';
	for (size_t i = 0; i < n; i++)
		memcpy(big + 1 + 2 * i, "1,", 2);
	big[1 + 2 * n] = ']';
	refused(big, 2 * n + 2, "f.yaml:1:4000000: ", "too many nodes");
	free(big);
}

/* A hundred thousand keys must not take a hundred thousand squared. */
static void test_many_keys(void **state)
{
	size_t bytes = 0, room = 2u << 20;
	char *text = malloc(room);
	struct ytree tree;
	struct err err;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < 100000; i++)
		bytes += (size_t)snprintf(text + bytes, room - bytes, "k%d: %d\n", i, i);
	assert_int_equal(ytree_parse(&tree, text, bytes, "f.yaml", &err), 0);
	assert_int_equal(tree.root->count, 100000);
	ytree_free(&tree);
	bytes += (size_t)snprintf(text + bytes, room - bytes, "k77: again\n");
	refused(text, bytes, "f.yaml:100001:1: ", "duplicate key k77; the first is at line 78");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_shape_and_places),
		cmocka_unit_test(test_empty), cmocka_unit_test(test_refusals), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_many_keys)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
