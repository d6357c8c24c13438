/* Travel: two events of a key in countries that are too far from each other for the time between them. State
 * thread. Distances are made of sums, products and square roots alone, which are the same on every machine.
 */
#include "cep_priv.h"

#include <math.h>

#define EARTH_KM 6371.0088 /* mean radius, IUGG */
#define PI 3.14159265358979323846
#define MS_PER_HOUR 3600000.0

static const struct country {
	char code[3];
	int16_t latitude, longitude; /* minutes of arc */
} country[] = {
#define COUNTRY(code, latitude, longitude) {code, latitude, longitude},
#include "countries.def"
#undef COUNTRY
};
#define COUNTRIES (int)(sizeof country / sizeof *country)

/* By both letters: the country's place and 1; 0: none. */
static int16_t country_at[26][26];

__attribute__((constructor)) static void country_init(void)
{
	for (int i = 0; i < COUNTRIES; i++)
		country_at[country[i].code[0] - 'A'][country[i].code[1] - 'A'] = (int16_t)(i + 1);
}

int cep_country(const uint8_t *code, uint32_t bytes)
{
	uint8_t a, b;

	if (bytes != 2)
		return -1;
	a = (uint8_t)((code[0] & ~0x20) - 'A');
	b = (uint8_t)((code[1] & ~0x20) - 'A');
	return a < 26 && b < 26 ? country_at[a][b] - 1 : -1;
}

bool cep_country_is(int64_t n)
{
	return n >= 0 && n < COUNTRIES;
}

/* |x| <= pi; Taylor, to the last bit or so. */
static double sine(double x)
{
	double term, sum;

	if (x > PI / 2)
		x = PI - x;
	if (x < -PI / 2)
		x = -PI - x;
	term = sum = x;
	for (int n = 2; n < 30; n += 2) {
		term *= -x * x / (n * (n + 1));
		sum += term;
	}
	return sum;
}

/* 0 <= x <= 1 */
static double arc_sine(double x)
{
	double term = x, sum = x;

	if (x > 0.5)
		return PI / 2 - 2 * arc_sine(sqrt((1 - x) / 2));
	for (int n = 1; n < 40; n++) {
		term *= x * x * (2 * n - 1) / (2 * n);
		sum += term / (2 * n + 1);
	}
	return sum;
}

static double radians(int minutes)
{
	return minutes * (PI / 10800);
}

/* Haversine (Sinnott 1984). */
double cep_country_km(int a, int b)
{
	double up = sine(radians(country[b].latitude - country[a].latitude) / 2);
	double along = sine(radians(country[b].longitude - country[a].longitude) / 2);
	double h = up * up + sine(PI / 2 - radians(country[a].latitude)) *
				     sine(PI / 2 - radians(country[b].latitude)) * along * along;

	return 2 * EARTH_KM * arc_sine(sqrt(h < 1 ? h : 1));
}

/* The same from what was computed before: keys go to and fro between a few countries. */
static double travel_km(struct cep_machine *m, int a, int b)
{
	struct cep_way *way = &m->way[((uint32_t)a * 31 + (uint32_t)b) % CEP_WAYS];

	if (way->from != a || way->to != b)
		*way = (struct cep_way){(int16_t)a, (int16_t)b, cep_country_km(a, b)};
	return way->km;
}

int cep_travel_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *list = &key->list, *seen = &key->seen;
	struct cep_valued *last = cep_items(m, list, sizeof *last), was;
	struct cep_seen then;
	struct cep_alert a;
	int64_t apart;
	double km;

	if (!list->count) {
		key->now_ms = ev->time_ms;
		*(struct cep_valued *)cep_list_add(m, list, sizeof *last, 0) =
			(struct cep_valued){ev->time_ms, ev->value};
		*(struct cep_seen *)cep_list_add(m, seen, sizeof then, 0) = cep_seen_of(ev);
		return 0;
	}
	was = *last;
	then = *cep_seen_at(m, seen, 0);
	if (ev->time_ms >= was.time_ms) {
		*last = (struct cep_valued){ev->time_ms, ev->value};
		*(struct cep_seen *)cep_items(m, seen, sizeof then) = cep_seen_of(ev);
		key->now_ms = ev->time_ms;
	}
	apart = ev->time_ms > was.time_ms ? ev->time_ms - was.time_ms : was.time_ms - ev->time_ms;
	if (was.value == ev->value || apart >= m->within_ms)
		return 0;
	km = travel_km(m, (int)was.value, (int)ev->value);
	if (km < m->def.distance_km_min || km * MS_PER_HOUR <= m->def.speed_kmh * (double)apart ||
		!cep_alert_due(m, key, key->now_ms))
		return 0;
	cep_alert_clear(&a);
	a.at_ms = key->now_ms;
	a.last_id = ev->id;
	a.total = 2;
	a.first_ms = was.time_ms < ev->time_ms ? was.time_ms : ev->time_ms;
	a.last_ms = was.time_ms < ev->time_ms ? ev->time_ms : was.time_ms;
	a.value = km * MS_PER_HOUR / (double)(apart ? apart : 1);
	a.expected = m->def.speed_kmh;
	a.score = a.expected > 0 ? a.value / a.expected : a.value;
	for (uint32_t i = 0; i < 2 && i < m->def.evidence_max; i++)
		a.seen[a.seen_count++] = i ? cep_seen_of(ev) : then;
	return cep_alert_put(m, key, &a);
}
