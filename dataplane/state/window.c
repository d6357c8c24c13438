/* The windows in force: the configuration's, or the shipped ones. Set-up only; the plan is the caller's and
 * immutable. */
#include "window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "window_priv.h"

static const char *const shipped[] = {
#define WINDOW(text, help) text,
#include "windows.def"
#undef WINDOW
};
#define SHIPPED (sizeof shipped / sizeof *shipped)
_Static_assert(SHIPPED <= WINDOWS_MAX, "more shipped windows than a plan holds");

static int by_uid(const void *a, const void *b)
{
	const struct window_def *x = *(struct window_def *const *)a, *y = *(struct window_def *const *)b;

	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

int window_plan_add(struct window_plan *plan, struct window_def *def, struct err *err)
{
	int rc = 0;

	if (plan->count == WINDOWS_MAX)
		rc = err_set(err, -EINVAL, "window %s: more than %d windows", def->name, WINDOWS_MAX);
	for (uint32_t i = 0; i < plan->count && !rc; i++) {
		if (!strcmp(plan->def[i]->name, def->name))
			rc = err_set(err, -EINVAL, "window %s: name: two windows have it", def->name);
		else if (plan->def[i]->uid == def->uid)
			rc = err_set(err, -EINVAL,
				"window %s: the hash of its definition is that of %s: rename one of them",
				def->name, plan->def[i]->name);
	}
	if (!rc)
		rc = window_def_check_step(def, plan->step_ms, err);
	if (rc) {
		window_def_free(def);
		return rc;
	}
	plan->def[plan->count++] = def;
	qsort(plan->def, plan->count, sizeof *plan->def, by_uid);
	return 0;
}

/* The i-th definition: of the configuration, or shipped. */
static int def_make(struct window_def **out, const struct config *cfg, uint32_t i, struct err *err)
{
	struct config_windows cw;
	int rc;

	if (cfg->windows_count)
		return window_def_make(out, &cfg->windows[i], err);
	rc = window_text_read(&cw, shipped[i], err);
	return rc ? rc : window_def_make(out, &cw, err);
}

/* Frees def on error. */
static int anomaly_check(struct window_def *def, struct err *err)
{
	int rc = merge_anomaly_check_window(def, err);

	if (rc) {
		err_prefix(err, "window %s: anomaly", def->name);
		window_def_free(def);
	}
	return rc;
}

int window_plan_make(struct window_plan **out, const struct config *cfg, struct err *err)
{
	uint32_t count = cfg->windows_count ? cfg->windows_count : cfg->state.defaults ? SHIPPED : 0;
	struct window_plan *plan = calloc(1, sizeof *plan);
	int rc = 0;

	*out = NULL;
	if (!plan)
		return err_set(err, -ENOMEM, "windows: no memory");
	plan->step_ms = (int64_t)cfg->state.step;
	for (uint32_t i = 0; i < count && !rc; i++) {
		struct window_def *def;

		rc = def_make(&def, cfg, i, err);
		if (!rc)
			rc = anomaly_check(def, err);
		if (!rc)
			rc = window_plan_add(plan, def, err);
		if (rc && cfg->windows_count && cfg->from.windows[i])
			err_prefix(err, "%s:%u", cfg->from.file, cfg->from.windows[i]);
	}
	if (rc) {
		window_plan_free(plan);
		return rc;
	}
	*out = plan;
	return 0;
}

void window_plan_free(struct window_plan *plan)
{
	if (!plan)
		return;
	for (uint32_t i = 0; i < plan->count; i++)
		window_def_free(plan->def[i]);
	free(plan);
}

const struct window_def *window_plan_find(const struct window_plan *plan, uint64_t uid)
{
	for (uint32_t i = 0; i < plan->count; i++)
		if (plan->def[i]->uid == uid)
			return plan->def[i];
	return NULL;
}
