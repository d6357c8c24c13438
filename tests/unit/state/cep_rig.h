/* For tests of stateful rules: events by hand or at random, an engine that collects its alerts, and a model
 * that asks of each event anew what the whole history of its key says. */
#ifndef SLUICE_CEP_RIG_H
#define SLUICE_CEP_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "agg_random.h"
#include "cep.h"
#include "row.h"

#define CEP_RIG_TIME 1700000000000ll
#define CEP_RIG_KEYS 64

struct rig_hit {
	int64_t time_ms;
	uint32_t key;
	uint32_t steps; /* sequence; 0: passes none, but is seen */
	int64_t value; /* decimal: millionths; number, distinct: a small integer; travel: index of rig_country
			*/
};

struct rig_alert {
	uint32_t key;
	int64_t first_ms, last_ms;
	double value;
	uint64_t total;
};
struct rig_alerts {
	uint32_t count, room;
	struct rig_alert *alert;
};
void rig_alert_add(struct rig_alerts *list, const struct rig_alert *a);

extern const char *const rig_country[4];

/* ---- the engine ---- */
struct cep_rig {
	struct rule_state rule[4]; /* in force: those of rig_rules_get()'s generation, see there */
	uint32_t rules;
	struct rule_keyring ring;
	struct rule_use use[4 * (RULE_STEPS_MAX + 1)];
	struct cep *cep;
	uint64_t offset;
	struct rig_alerts alerts; /* since the last rig_alerts_clear() */
	struct bytes out;	  /* all of them, as records */
};
/* A rule of this kind with everything set; uid 7. */
struct rule_state rig_rule(enum rule_state_kind kind);
/* Rule 0 is in force. Hits: each rule has RULE_STEPS_MAX + 1 of them, the last for an event that passes no
 * step. */
void cep_rig_open(struct cep_rig *rig, const struct rule_state *rule);
void cep_rig_close(struct cep_rig *rig);
/* Generation n: the rules whose bits are set in n. */
int cep_rig_rules(void *arg, uint32_t generation, struct cep_rules *out, struct err *err);
struct cep *cep_rig_new(struct cep_rig *rig);
/* To rule r. watermark_ms: before it. */
void cep_rig_take(struct cep_rig *rig, uint32_t r, const struct rig_hit *hit, int64_t watermark_ms);
/* The same at CEP_RIG_TIME + t, before any watermark. */
void cep_rig_hit(struct cep_rig *rig, uint32_t r, uint32_t key, int64_t t, uint32_t steps);
void cep_rig_flush(struct cep_rig *rig);
void cep_rig_reach(struct cep_rig *rig, int64_t step_ms);
/* The engine with its state saved and loaded; checks that this makes the same bytes again. */
void cep_rig_reload(struct cep_rig *rig);

/* ---- the model ---- */
struct cep_model;
struct cep_model *cep_model_new(const struct rule_state *rule);
void cep_model_free(struct cep_model *model);
void cep_model_take(
	struct cep_model *model, const struct rig_hit *hit, int64_t watermark_ms, struct rig_alerts *out);
void cep_model_reach(struct cep_model *model, int64_t step_ms, struct rig_alerts *out);
struct cep_model_counts {
	uint64_t late, suppressed, evictions, expiries, keys;
};
struct cep_model_counts cep_model_counts(const struct cep_model *model);

#endif
